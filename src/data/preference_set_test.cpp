// Rows of preferences as training rows: what is kept, cut, dropped and refused, on a tokenizer of one token per word.
#include "data/preference_set.h"

#include <gtest/gtest.h>

#include "support/trl_model.h"

namespace candor::data {
namespace {

using Ids = std::vector<int32_t>;

// golden/trajectories/model: "w7" is token 7, end of sequence 1.
class PreferenceSets : public ::testing::Test {
 protected:
  void SetUp() override {
    CANDOR_REQUIRE_FILE(testing::golden("trajectories/model/tokenizer.json"));
    model_.files.config.vocab_size = 1 << 30;
    files::attach_text(testing::golden("trajectories/model"), model_.files);
    ASSERT_TRUE(model_.has_tokenizer());
  }
  static Rows rows(std::string_view lines) { return parse_json_rows(lines, "pairs.jsonl").value(); }
  Result<PairSet> pairs(std::string_view lines, const PreferenceOptions& options = {}) const {
    return load_pairs(rows(lines), model_.reader(), options);
  }
  Result<LabelledSet> labelled(std::string_view lines, const PreferenceOptions& options = {}) const {
    return load_labelled(rows(lines), model_.reader(), options);
  }
  template <typename R>
  static std::string message(const Result<R>& result) {
    return result ? "" : result.error().message;
  }
  testing::TrlModel model_;
};

constexpr const char* kPair = R"({"prompt": "w4 w5", "chosen": " w6 w7 w8", "rejected": " w9"})";

TEST_F(PreferenceSets, APairIsPromptAndBothCompletions) {
  const auto set = pairs(kPair);
  ASSERT_TRUE(set) << set.error().message;
  ASSERT_EQ(set->rows.size(), 1u);
  EXPECT_EQ(set->rows[0].chosen.ids, (Ids{4, 5, 6, 7, 8, 1}));
  EXPECT_EQ(set->rows[0].rejected.ids, (Ids{4, 5, 9, 1}));
  EXPECT_EQ(set->rows[0].chosen.prompt_tokens, 2);
  EXPECT_EQ(set->rows[0].chosen.counted(), 4);
  EXPECT_EQ(set->rows[0].row, 1);
  EXPECT_EQ(set->account.tokens, 10);
  EXPECT_EQ(set->account.counted_tokens, 6);
}

TEST_F(PreferenceSets, LongRowsAreCutAtOneEndDroppedOrRefused) {
  PreferenceOptions options;
  options.max_length = 4;
  const auto start = pairs(kPair, options);
  ASSERT_TRUE(start) << start.error().message;
  EXPECT_EQ(start->rows[0].chosen.ids, (Ids{4, 5, 6, 7}));
  EXPECT_EQ(start->rows[0].rejected.ids, (Ids{4, 5, 9, 1}));
  options.truncation_mode = TruncationMode::kKeepEnd;  // the two prompts part
  const auto end = pairs(kPair, options);
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(end->rows[0].chosen.ids, (Ids{6, 7, 8, 1}));
  EXPECT_EQ(end->rows[0].chosen.prompt_tokens, 0);
  EXPECT_EQ(end->rows[0].chosen.counted(), 3);  // nothing predicts the first
  EXPECT_EQ(end->rows[0].rejected.prompt_tokens, 2);
  options.overlong = Overlong::kError;
  EXPECT_EQ(message(pairs(kPair, options)),
            "[dpo] pairs.jsonl row 1: 6 tokens are more than max_length 4. Raise max_length, shorten the row, or set "
            "overlong to truncate or drop.");
  options.overlong = Overlong::kDrop;
  EXPECT_EQ(message(pairs(kPair, options)),
            "[dpo] pairs.jsonl: no row is left to train on. 1 row dropped: longer than max_length 4, 6 tokens lost "
            "(row 1).");
}

TEST_F(PreferenceSets, WhatTeachesNothingIsNamed) {
  PreferenceOptions options;
  options.max_length = 2;
  EXPECT_EQ(
      message(pairs(kPair, options)),
      "[dpo] pairs.jsonl row 1: \"chosen\" is empty after truncation to 2 tokens. Raise max_length or drop the row.");
  EXPECT_EQ(message(pairs(R"({"prompt": "w4", "chosen": " w6", "rejected": " w6"})")),
            "[dpo] pairs.jsonl row 1: \"chosen\" and \"rejected\" are the same 2 tokens: there is nothing to prefer.");
  options.max_length = 3;
  EXPECT_EQ(message(pairs(R"({"prompt": "w4", "chosen": " w6 w7 w8", "rejected": " w6 w7 w9"})", options)),
            "[dpo] pairs.jsonl row 1: \"chosen\" and \"rejected\" are the same after truncation to 3 tokens. Raise "
            "max_length or drop the row.");
  EXPECT_EQ(message(pairs(R"({"prompt": "w4", "chosen": " w6", "rejected": " w7", "margin": "much"})")),
            "[dpo] pairs.jsonl row 1: \"margin\" is \"much\"; expected a number.");
}

TEST_F(PreferenceSets, BadRowsMayBeDroppedAndAreCounted) {
  PreferenceOptions options;
  options.bad_rows = BadRows::kDrop;
  const auto set =
      pairs(std::string(kPair) + "\n" + R"({"prompt": "w4", "chosen": " w6", "rejected": " w6"})", options);
  ASSERT_TRUE(set) << set.error().message;
  EXPECT_EQ(set->rows.size(), 1u);
  EXPECT_EQ(set->account.rows, 2);
  EXPECT_EQ(set->account.kept, 1);
  ASSERT_EQ(set->account.fates.size(), 1u);
  EXPECT_EQ(set->account.fates[0].first, std::vector<int64_t>{2});
}

TEST_F(PreferenceSets, AMarginIsRead) {
  const auto set = pairs(R"({"prompt": "w4", "chosen": " w6", "rejected": " w7", "margin": 0.5})");
  ASSERT_TRUE(set) << set.error().message;
  EXPECT_EQ(set->rows[0].margin, 0.5);
}

TEST_F(PreferenceSets, LabelsAndPairsBecomeLabelledRows) {
  const auto set = labelled(R"({"prompt": "w4", "completion": " w6", "label": true})"
                            "\n"
                            R"({"prompt": "w4", "completion": " w7", "label": 0})"
                            "\n"
                            R"({"prompt": "w5", "chosen": " w8", "rejected": " w9"})");
  ASSERT_TRUE(set) << set.error().message;
  ASSERT_EQ(set->rows.size(), 4u);
  std::vector<bool> labels;
  for (const LabelledAnswer& row : set->rows) labels.push_back(row.desirable);
  EXPECT_EQ(labels, (std::vector<bool>{true, false, true, false}));
  EXPECT_EQ(set->rows[3].answer.ids, (Ids{5, 9, 1}));
  EXPECT_EQ(set->rows[3].row, 3);
}

TEST_F(PreferenceSets, LabelsOfOneKindOrNoneAreNamed) {
  PreferenceOptions options;
  options.where = "kto";
  EXPECT_EQ(
      message(labelled(R"({"prompt": "w4", "completion": " w6", "label": true})", options)),
      "[kto] pairs.jsonl: every \"label\" is true. What is wanted can only be told from what is not: give rows of "
      "both kinds.");
  EXPECT_EQ(message(labelled(R"({"prompt": "w4", "completion": " w6", "label": "good"})", options)),
            "[kto] pairs.jsonl row 1: \"label\" is \"good\"; expected true or false.");
  EXPECT_EQ(message(labelled(R"({"prompt": "w4", "completion": " w6"})", options)),
            "[kto] pairs.jsonl row 1: expected columns \"prompt\", \"completion\" and \"label\", or \"chosen\" and "
            "\"rejected\", got prompt, completion.");
}

}  // namespace
}  // namespace candor::data
