#include "data/distillation.h"

#include <gtest/gtest.h>

namespace candor::data {
namespace {

using text::Json;

Rows rows_of(const Json& columns) {
  return {"rows.jsonl", {{columns, 1, 1}}};
}

TEST(CompletionRows, TheLastMessageIsTheCompletion) {
  const Json user = {{"role", "user"}, {"content", "Hi"}}, answer = {{"role", "assistant"}, {"content", "Hello"}};
  const auto read = completion_rows(rows_of({{"messages", {user, answer}}}), "distill");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->rows[0].columns.at("prompt"), Json::array({user}));
  EXPECT_EQ(read->rows[0].columns.at("completion"), Json::array({answer}));
  const Json both = {{"prompt", "a"}, {"completion", "b"}}, text = {{"text", "abc"}};
  EXPECT_EQ(completion_rows(rows_of(both), "distill")->rows[0].columns, both);
  EXPECT_EQ(completion_rows(rows_of(text), "distill")->rows[0].columns, text);
  const auto refused = completion_rows(rows_of({{"messages", {answer, user}}}), "distill");
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().message.starts_with("[distill] rows.jsonl row 1: ")) << refused.error().message;
}

TEST(TeacherPrompt, ComesFirst) {
  const Json user = {{"role", "user"}, {"content", "Hi"}}, system = {{"role", "system"}, {"content", "Be brief."}};
  const auto prompt = [](const Json& columns) {
    return with_teacher_prompt(rows_of(columns), "You are a poet.", "distill")->rows[0].columns.at("prompt");
  };
  EXPECT_EQ(prompt({{"prompt", Json::array({user})}}),
            Json::array({{{"role", "system"}, {"content", "You are a poet."}}, user}));
  EXPECT_EQ(prompt({{"prompt", Json::array({system, user})}}),
            Json::array({{{"role", "system"}, {"content", "You are a poet.\n\nBe brief."}}, user}));
  EXPECT_EQ(prompt({{"prompt", "2+2="}}), "You are a poet.2+2=");
  const auto refused = with_teacher_prompt(rows_of({{"text", "abc"}}), "x", "distill");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "[distill] rows.jsonl row 1: the teacher's prompt goes before the row's own, and this row has none. Give a "
            "column \"prompt\" with \"completion\", or \"messages\".");
}

}  // namespace
}  // namespace candor::data
