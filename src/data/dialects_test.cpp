#include "data/dialects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/rows.h"
#include "support/oracle.h"

namespace candor::data {
namespace {

using ::testing::HasSubstr;
using text::Json;

Json made(const Result<Json>& row) {
  return row ? *row : Json("error: " + row.error().message);
}

TEST(Dialects, EqualTrl) {
  const auto path = testing::golden("text/trl_data/functions.json");
  CANDOR_REQUIRE_FILE(path);
  int compared = 0;
  const Json cases = Json::parse(testing::read_text(path))["cases"];
  for (const Json& test : cases) {
    const std::string function = test["function"];
    if (function == "maybe_convert_to_chatml") {
      EXPECT_EQ(in_messages_dialect(test["example"]), test["output"]);
      ++compared;
    }
    if (function == "maybe_extract_prompt" && !test["example"].contains("chosen")) continue;  // no preference
    if (function == "extract_prompt" || function == "maybe_extract_prompt") {
      const auto row = with_explicit_prompt(test["example"]);
      ++compared;
      if (test.contains("error")) {
        EXPECT_FALSE(row) << test["example"];
      } else if (test["example"]["chosen"] == "x ") {
        // Nothing in common: TRL then looks at the last character, a space, and moves it to the completion.
        EXPECT_EQ(made(row), Json({{"prompt", ""}, {"chosen", "x "}, {"rejected", "y "}}));
      } else {
        // Compared by key: a row that TRL leaves alone keeps its order.
        EXPECT_TRUE(made(row) == test["output"]) << made(row) << " " << test["output"];
      }
    }
    if (function == "unpair_preference_dataset" && test["dataset"] != "preference_implicit") {
      const auto rows = read_rows(testing::golden("text/trl_data/" + test["dataset"].get<std::string>() + ".jsonl"));
      ASSERT_TRUE(rows);
      const size_t count = rows->rows.size();
      for (size_t i = 0; i < count; ++i) {  // TRL: all the chosen, then all the rejected
        const auto both = as_unpaired(rows->rows[i].columns);
        ASSERT_TRUE(both);
        EXPECT_EQ((*both)[0], test["output"][i]);
        EXPECT_EQ((*both)[1], test["output"][i + count]);
      }
      ++compared;
    }
  }
  EXPECT_EQ(compared, 27);
}

TEST(Dialects, AsMessagesKeepsOtherColumns) {
  const std::string expected =
      R"({"id":1,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"source":"s"})";
  for (const char* row :
       {R"({"id": 1, "prompt": "q", "completion": "a", "source": "s"})",
        R"({"id": 1, "instruction": "q", "input": "", "output": "a", "source": "s"})",
        R"({"id": 1, "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
                              "source": "s"})",
        R"({"id": 1, "prompt": [{"role": "user", "content": "q"}],
                              "completion": [{"role": "assistant", "content": "a"}], "source": "s"})",
        expected.c_str()}) {
    EXPECT_EQ(made(as_messages(Json::parse(row))).dump(), expected);
  }
  EXPECT_EQ(
      made(as_messages(Json::parse(R"({"instruction": "i", "input": "x", "output": "o", "system": "s"})")))["messages"]
          .dump(),
      R"([{"role":"system","content":"s"},{"role":"user","content":"i\n\nx"},{"role":"assistant","content":"o"}])");
}

TEST(Dialects, TheLastMessageIsTheCompletion) {
  const Json row = made(as_prompt_completion(Json::parse(
      R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "n": 2})")));
  EXPECT_EQ(row.dump(),
            R"({"prompt":[{"role":"user","content":"q"}],"completion":[{"role":"assistant","content":"a"}],"n":2})");
  for (const char* bad : {R"({"messages": [{"role": "assistant", "content": "a"}]})",
                          R"({"messages": [{"role": "user", "content": "a"}, {"role": 3}]})", R"({"messages": "a"})"})
    EXPECT_THAT(made(as_prompt_completion(Json::parse(bad))).get<std::string>(),
                HasSubstr("does not end with a message"));
}

TEST(Dialects, WhatCannotBeConvertedIsNamed) {
  EXPECT_THAT(made(as_messages({{"text", "a"}})).get<std::string>(), HasSubstr("instruction and output, got text."));
  EXPECT_THAT(made(as_messages({{"prompt", "a"}, {"completion", Json::array()}})).get<std::string>(),
              HasSubstr("\"prompt\" is a string and \"completion\" a array"));
  EXPECT_THAT(made(as_messages({{"instruction", 3}, {"output", "a"}})).get<std::string>(),
              HasSubstr("\"instruction\" is a number, not text."));
  EXPECT_THAT(made(with_explicit_prompt({{"chosen", "a"}})).get<std::string>(),
              HasSubstr("chosen and rejected, got chosen"));
  EXPECT_THAT(made(with_explicit_prompt({{"chosen", ""}, {"rejected", "b"}})).get<std::string>(),
              HasSubstr("\"chosen\" is empty"));
  EXPECT_THAT(made(with_explicit_prompt({{"chosen", "a"}, {"rejected", 1}})).get<std::string>(),
              HasSubstr("Expected two texts or two conversations."));
}

}  // namespace
}  // namespace candor::data
