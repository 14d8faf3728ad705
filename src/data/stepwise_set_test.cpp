// Solutions with labelled steps as training rows: the places of the labels against TRL's PRMTrainer (golden/losses),
// and what is kept, cut, dropped and refused.
#include "data/stepwise_set.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/trl_model.h"

namespace candor::data {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

TEST(StepwiseGolden, EveryLabelHasItsPlace) {
  CANDOR_REQUIRE_FILE(testing::golden("losses/prm.json"));
  const json file = json::parse(testing::read_text(testing::golden("losses/prm.json")));
  int ran = 0;
  for (const json& c : file.at("cases")) {
    if (!c["inputs"].contains("separator")) continue;
    ++ran;
    const json& in = c["inputs"];
    // TRL bounds the completion by itself; the whole's bound is that and the prompt.
    const json& most = c["config"]["max_completion_length"];
    const auto prompt = in["prompt"].get<Ids>();
    const int64_t bound = most.is_null() ? 0 : most.get<int64_t>() + static_cast<int64_t>(prompt.size());
    const auto steps = in["completions"].get<std::vector<Ids>>();
    const auto labels = in["labels"].get<std::vector<uint8_t>>();
    const bool last_only = c["config"]["train_on_last_step_only"];
    const auto placed = [&](const std::vector<uint8_t>& of) {
      const StepwiseRow row = place_labels(prompt, steps, in["separator"].get<Ids>(), of, last_only, bound);
      std::vector<int> all(row.ids.size(), -100);
      for (size_t i = 0; i < row.ends.size(); ++i) all[static_cast<size_t>(row.ends[i])] = row.labels[i];
      return std::pair(row.ids, all);
    };
    const auto expected = c["outputs"]["labels"].get<std::vector<int>>();
    EXPECT_EQ(placed(labels).first, c["outputs"]["input_ids"].get<Ids>()) << c["name"];
    EXPECT_EQ(placed(labels).second, expected) << c["name"];
    const bool any = std::any_of(expected.begin(), expected.end(), [](int label) { return label != -100; });
    EXPECT_EQ(placed({0, 1, 0}).second != expected, any) << "labels swapped: " << c["name"];
  }
  EXPECT_EQ(ran, 8);
}

// golden/trajectories/model: "w7" is token 7.
class StepwiseSets : public ::testing::Test {
 protected:
  void SetUp() override {
    CANDOR_REQUIRE_FILE(testing::golden("trajectories/model/tokenizer.json"));
    model_.files.config.vocab_size = 1 << 30;
    files::attach_text(testing::golden("trajectories/model"), model_.files);
    ASSERT_TRUE(model_.has_tokenizer());
    options_.step_separator = "w90";
  }
  Result<StepwiseSet> load(std::string_view lines) const {
    return load_stepwise(parse_json_rows(lines, "steps.jsonl").value(), model_.reader(), options_);
  }
  std::string message(std::string_view lines) const {
    const auto set = load(lines);
    return set ? "" : set.error().message;
  }
  testing::TrlModel model_;
  StepwiseOptions options_;
};

constexpr const char* kRow = R"({"prompt": "w4 w5", "completions": ["w6", "w7 w8"], "labels": [true, false]})";

TEST_F(StepwiseSets, ALabelStandsOnItsSeparator) {
  const auto set = load(kRow);
  ASSERT_TRUE(set) << set.error().message;
  EXPECT_EQ(set->rows[0].ids, (Ids{4, 5, 6, 90, 7, 8, 90}));
  EXPECT_EQ(set->rows[0].ends, (std::vector<int64_t>{3, 6}));
  EXPECT_EQ(set->rows[0].labels, (std::vector<uint8_t>{1, 0}));
  EXPECT_EQ(set->account.counted_tokens, 2);
}

TEST_F(StepwiseSets, LongRowsLoseTheirLastStepsOrEverything) {
  const std::string two = std::string(kRow) + "\n" + R"({"prompt": "w4", "completions": ["w6"], "labels": [0]})";
  options_.rows.max_length = 5;
  const auto cut = load(two);
  ASSERT_TRUE(cut) << cut.error().message;
  EXPECT_EQ(cut->rows[0].ids, (Ids{4, 5, 6, 90, 7}));
  EXPECT_EQ(cut->rows[0].ends, (std::vector<int64_t>{3}));
  EXPECT_EQ(cut->account.fates.at(0).what, "cut to max_length 5");
  options_.rows.max_length = 3;
  EXPECT_EQ(message(kRow),
            "[prm] steps.jsonl row 1: no step is left after truncation to 3 tokens. Raise max_length or drop the row.");
  options_.rows.overlong = Overlong::kError;
  EXPECT_EQ(message(kRow),
            "[prm] steps.jsonl row 1: 7 tokens are more than max_length 3. Raise max_length, shorten the row, or set "
            "overlong to truncate or drop.");
  options_.rows.overlong = Overlong::kDrop;
  EXPECT_EQ(message(kRow), "[prm] steps.jsonl: no row is left to train on.");
}

TEST_F(StepwiseSets, BadRowsAreNamed) {
  EXPECT_EQ(message(R"({"prompt": "w4", "completions": ["w5"]})"),
            "[prm] steps.jsonl row 1: expected columns \"prompt\", \"completions\" and \"labels\", got prompt, "
            "completions.");
  EXPECT_EQ(message(R"({"prompt": "w4", "completions": ["w5"], "labels": [true, false]})"),
            "[prm] steps.jsonl row 1: \"labels\" must be a list with one label for each of the 1 steps.");
  EXPECT_EQ(message(R"({"prompt": "w4", "completions": ["w5"], "labels": [2]})"),
            "[prm] steps.jsonl row 1: \"labels\" holds 2; expected true or false.");
  EXPECT_EQ(message(R"({"prompt": "w4", "completions": [], "labels": []})"),
            "[prm] steps.jsonl row 1: \"completions\" is no list of steps.");
  EXPECT_EQ(
      message(R"({"prompt": "w4", "completions": ["w5", "w6"], "labels": [1, true]})"),
      "[prm] steps.jsonl: every step's label is true. What is right can only be told from what is not: give steps "
      "of both kinds.");
  options_.rows.bad_rows = BadRows::kDrop;
  const auto set = load(std::string(R"({"prompt": "w4", "completions": [], "labels": []})") + "\n" + kRow);
  ASSERT_TRUE(set) << set.error().message;
  EXPECT_EQ(set->account.kept, 1);
  EXPECT_EQ(set->account.fates.at(0).first, (std::vector<int64_t>{1}));
}

}  // namespace
}  // namespace candor::data
