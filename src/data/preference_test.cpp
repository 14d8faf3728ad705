#include "data/preference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/dialects.h"
#include "data/rows.h"
#include "data/sequences.h"
#include "support/trl_model.h"

namespace candor::data {
namespace {

using text::Json;
using Ids = std::vector<int32_t>;

const Json kTemplates = {{"r1", "templates/deepseek-ai-DeepSeek-R1-Distill-Llama-8B.jinja"}};

Ids joined(const Ids& a, const Ids& b) {
  Ids both = a;
  both.insert(both.end(), b.begin(), b.end());
  return both;
}

// Runs of one of TRL's trainers over the preferences of its data sets; `compare` sees the rows of one run.
template <typename Compare>
int compare_runs(const char* file, const Compare& compare) {
  int compared = 0;
  const Json runs = Json::parse(testing::read_text(testing::golden(file)))["runs"];
  for (const Json& run : runs) {
    SCOPED_TRACE(run["name"].get<std::string>());
    const testing::TrlModel model = testing::trl_model(run, kTemplates);
    if (!model.has_tokenizer()) continue;
    const auto rows = read_rows(testing::golden("text/trl_data/" + run["dataset"].get<std::string>() + ".jsonl"));
    EXPECT_TRUE(rows);
    compare(run, *rows, model.reader());
    ++compared;
  }
  return compared;
}

// max_length drops rows whose prompt fills it under keep_start; what is left is cut in the collator, not here.
TEST(ReadPreference, EqualsTrlsDpo) {
  CANDOR_REQUIRE_FILE(testing::golden("text/trl_data/dpo.json"));
  const int compared =
      compare_runs("text/trl_data/dpo.json", [](const Json& run, const Rows& rows, const TextReader& reader) {
        const Json& config = run["config"];
        const bool drops = config.contains("max_length") && config["max_length"].is_number() &&
                           config.value("truncation_mode", "keep_start") == "keep_start";
        size_t next = 0;
        for (const Row& row : rows.rows) {
          const auto got = read_preference(row.columns, reader);
          ASSERT_TRUE(got) << got.error().message;
          if (drops && static_cast<int64_t>(got->prompt.size()) >= config["max_length"].get<int64_t>()) continue;
          ASSERT_LT(next, run["rows"].size());
          const Json& expected = run["rows"][next++];
          EXPECT_EQ(got->prompt, expected["prompt_ids"].get<Ids>());
          EXPECT_EQ(got->chosen, expected["chosen_ids"].get<Ids>());
          EXPECT_EQ(got->rejected, expected["rejected_ids"].get<Ids>());
        }
        EXPECT_EQ(next, run["rows"].size());
      });
  EXPECT_EQ(compared, 11);
}

TEST(ReadPreference, EqualsTrlsRewardModel) {
  CANDOR_REQUIRE_FILE(testing::golden("text/trl_data/reward.json"));
  const int compared =
      compare_runs("text/trl_data/reward.json", [](const Json& run, const Rows& rows, const TextReader& reader) {
        const int64_t most = run["config"].value("max_length", int64_t{1} << 40);
        size_t next = 0;
        for (const Row& row : rows.rows) {
          const auto got = read_preference(row.columns, reader);
          ASSERT_TRUE(got) << got.error().message;
          const Ids chosen = joined(got->prompt, got->chosen), rejected = joined(got->prompt, got->rejected);
          if (static_cast<int64_t>(std::max(chosen.size(), rejected.size())) > most) continue;
          ASSERT_LT(next, run["rows"].size());
          EXPECT_EQ(chosen, run["rows"][next]["chosen_ids"].get<Ids>());
          EXPECT_EQ(rejected, run["rows"][next++]["rejected_ids"].get<Ids>());
        }
        EXPECT_EQ(next, run["rows"].size());
      });
  EXPECT_EQ(compared, 6);
}

TEST(ReadPromptCompletion, EqualsTrlsKto) {
  CANDOR_REQUIRE_FILE(testing::golden("text/trl_data/kto.json"));
  const int compared =
      compare_runs("text/trl_data/kto.json", [](const Json& run, const Rows& rows, const TextReader& reader) {
        std::vector<Json> unpaired;
        for (const Row& row : rows.rows)
          if (row.columns.contains("label")) unpaired.push_back(row.columns);
        for (const size_t which : {0, 1}) {
          for (const Row& row : rows.rows) {
            if (row.columns.contains("label")) continue;
            const auto both = as_unpaired(row.columns);
            ASSERT_TRUE(both) << both.error().message;
            unpaired.push_back((*both)[which]);
          }
        }
        size_t next = 0;
        for (const Json& row : unpaired) {
          const std::string end = row["completion"].is_string() ? *end_of_sequence(reader) : "";
          const auto got = read_prompt_completion(row, reader, end);
          ASSERT_TRUE(got) << got.error().message;
          if (static_cast<int64_t>(got->prompt_tokens) >= run["config"].value("max_length", int64_t{1} << 40)) continue;
          ASSERT_LT(next, run["rows"].size());
          const Json& expected = run["rows"][next++];
          EXPECT_EQ(got->ids, joined(expected["prompt_ids"].get<Ids>(), expected["completion_ids"].get<Ids>()));
          EXPECT_EQ(got->prompt_tokens, expected["prompt_ids"].size());
          EXPECT_EQ(row["label"], expected["label"]);
        }
        EXPECT_EQ(next, run["rows"].size());
      });
  EXPECT_EQ(compared, 5);
}

TEST(ReadPreference, NamesWhatIsMissing) {
  const testing::TrlModel model = [] {
    testing::TrlModel one;
    one.files.tokenizer = std::move(text::Tokenizer::from_tokenizer_json(
                                        R"({"version": "1.0", "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "a": 1}}})",
                                        "test"))
                              .value();
    return one;
  }();
  EXPECT_THAT(read_preference({{"prompt", "a"}, {"chosen", "a"}}, model.reader()).error().message,
              ::testing::HasSubstr("expected the columns chosen and rejected, got prompt, chosen."));
  EXPECT_THAT(read_preference({{"prompt", "a"}, {"chosen", "a"}, {"rejected", "a"}}, model.reader()).error().message,
              ::testing::HasSubstr("the model's tokenizer names none"));
}

}  // namespace
}  // namespace candor::data
