#include "data/dataset_type.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/statistics.h"
#include "support/oracle.h"

namespace candor::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using text::Json;

TEST(TypeOf, KnowsEveryTypeOfTrl) {
  CANDOR_REQUIRE_FILE(testing::golden("text/trl_data/lm_text.jsonl"));
  for (const auto& [file, type, dialect] : {std::tuple{"lm_text", "language_modeling", "plain"},
                                            {"lm_messages", "language_modeling", "conversational"},
                                            {"lm_sharegpt", "language_modeling", "sharegpt"},
                                            {"lm_tools", "language_modeling", "conversational"},
                                            {"prompt_only", "prompt_only", "plain"},
                                            {"prompt_only_conv", "prompt_only", "conversational"},
                                            {"prompt_completion", "prompt_completion", "plain"},
                                            {"prompt_completion_conv", "prompt_completion", "conversational"},
                                            {"preference", "preference", "plain"},
                                            {"preference_implicit_conv", "preference", "conversational"},
                                            {"unpaired", "unpaired_preference", "plain"}}) {
    const auto rows = read_rows(testing::golden("text/trl_data/" + std::string(file) + ".jsonl"));
    ASSERT_TRUE(rows);
    const auto found = type_of(*rows);
    ASSERT_TRUE(found) << file;
    EXPECT_EQ(name_of(*found), type) << file;
    EXPECT_EQ(*dataset_type(type), *found);
    EXPECT_EQ(dialect_of(rows->rows[0].columns), dialect) << file;
  }
  EXPECT_THAT(dataset_type("sft").error().message, HasSubstr("got \"sft\""));
  EXPECT_THAT(type_of(*parse_json_rows("{\"a\": 1}", "f")).error().message, HasSubstr("The first has the columns a;"));
}

std::vector<std::string> faults(const char* row) {
  const Json columns = Json::parse(row);
  return row_faults(columns, type_of(columns).value());
}

TEST(RowFaults, GoodRowsHaveNone) {
  for (const char* row :
       {R"({"text": "a"})",
        R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})",
        R"({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]})",
        R"({"prompt": "", "completion": "b"})", R"({"prompt": "a"})", R"({"chosen": "a b", "rejected": "a c"})",
        R"({"prompt": "a", "completion": "b", "label": false})", R"({"instruction": "a", "output": "b"})",
        R"({"input_ids": [1]})",
        R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": null,
            "tool_calls": [{"function": {"name": "f"}}]}]})"}) {
    EXPECT_THAT(faults(row), IsEmpty()) << row;
  }
}

TEST(RowFaults, NameEverythingThatIsWrong) {
  EXPECT_THAT(faults(R"({"text": " "})"), ElementsAre("\"text\" is empty."));
  EXPECT_THAT(faults(R"({"text": "a\u0000"})"), ElementsAre("\"text\" holds a NUL character. Remove it."));
  EXPECT_THAT(faults(R"({"messages": []})"), ElementsAre("\"messages\" holds no message."));
  EXPECT_THAT(
      faults(R"({"messages": [{"role": "bot", "content": "a"}, {"content": ""}, 3]})"),
      ElementsAre(HasSubstr("message 1 of \"messages\" has the role \"bot\"; expected one of system, developer"),
                  "message 2 of \"messages\" has no \"role\".", "message 2 of \"messages\" is empty.",
                  "message 3 of \"messages\" is a number, not an object.",
                  "\"messages\" holds no message of the assistant."));
  EXPECT_THAT(faults(R"({"prompt": "a", "completion": ""})"), ElementsAre("\"completion\" is empty."));
  EXPECT_THAT(faults(R"({"prompt": "a", "completion": [{"role": "assistant", "content": "b"}]})"),
              ElementsAre("of \"prompt\" and \"completion\" one is text and the other a conversation."));
  EXPECT_THAT(faults(R"({"prompt": "a", "chosen": "b", "rejected": "b"})"),
              ElementsAre("\"chosen\" and \"rejected\" are the same."));
  EXPECT_THAT(
      faults(R"({"completion": "b", "label": 1})"),
      ElementsAre("there is no column \"prompt\"; the row has completion, label.", "\"label\" is not true or false."));
  EXPECT_THAT(faults(R"({"input_ids": []})"), ElementsAre("\"input_ids\" is no list of token ids."));
  EXPECT_THAT(row_faults({{"x", 1}}, DatasetType::kPromptOnly),
              ElementsAre("there is no column \"prompt\"; the row has x."));
}

// Lengths 1, 2, …, 20: the median is the 10th, p95 the 19th.
TEST(SpreadOf, IsNearestRank) {
  std::vector<int64_t> lengths;
  for (int64_t i = 20; i > 0; --i) lengths.push_back(i);
  const Spread spread = spread_of(lengths);
  EXPECT_EQ(spread.median, 10);
  EXPECT_EQ(spread.p95, 19);
  EXPECT_EQ(spread.max, 20);
  EXPECT_EQ(spread.mean, 10.5);
  EXPECT_EQ(spread_of({}).max, 0);
  EXPECT_EQ(spread_of({7}).p95, 7);
}

TEST(DatasetFactsOf, CountColumnsTurnsAndRepeatedRows) {
  const auto rows = parse_json_rows(
      "{\"messages\": [{\"role\": \"user\", \"content\": \"\xED\x95\x9C\"}, {\"role\": \"assistant\", \"content\": "
      "\"bc\"}]}\n"
      "{\"text\": \"abcdef\", \"n\": 1}\n{\"text\": \"abcdef\", \"n\": 1}\n{\"text\": null, \"n\": \"x\"}\n",
      "f");
  const auto facts = dataset_facts(*rows, nullptr);
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->rows, 4);
  EXPECT_EQ(facts->duplicates, 1);
  EXPECT_EQ(facts->characters.max, 6);
  EXPECT_EQ(facts->characters.total, 16);  // one Korean character, a line break, two letters; six and six
  EXPECT_EQ(facts->turns->max, 2);
  EXPECT_EQ(facts->longest[0].row, 2);
  ASSERT_EQ(facts->columns.size(), 3u);
  EXPECT_EQ(facts->columns[1].name, "text");
  EXPECT_THAT(facts->columns[1].kinds, ElementsAre(std::pair("text", 2), std::pair("null", 1)));
  EXPECT_THAT(facts->roles, ElementsAre(std::pair("user", 1), std::pair("assistant", 1)));
}

}  // namespace
}  // namespace candor::data
