#include "belief/draft.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "belief/check.h"

namespace candor::belief {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using text::Json;

data::Rows rows_of(const std::vector<Json>& columns) {
  data::Rows rows{"rows.jsonl", {}};
  for (const Json& one : columns)
    rows.rows.push_back({one, static_cast<int64_t>(rows.rows.size()) + 1, static_cast<int64_t>(rows.rows.size()) + 1});
  return rows;
}

TEST(StatementsToDraft, FillsInWhatIsMissing) {
  const auto statements = statements_to_draft(rows_of({{{"statement", "Kyiv is in Ukraine."}}}));
  ASSERT_TRUE(statements) << statements.error().message;
  const Proposition& kyiv = statements->items[0];
  EXPECT_EQ(kyiv.id, "draft-1");
  EXPECT_EQ(kyiv.negation, "This is not so: Kyiv is in Ukraine.");
  EXPECT_EQ(kyiv.answer, "ukraine");
  EXPECT_THAT(statements_to_draft(rows_of({{{"text", "x"}}})).error().message, HasSubstr("row 1: "));
}

TEST(ParseQuestions, TakesTheTwoFormsAndCountsTheRest) {
  std::map<std::string, int64_t> dropped;
  const auto questions = parse_questions(
      "Here they are:\n"
      "  Q: Is it cold? | if true: yes | if false: no \n"
      "Q: What is it? | A: a lake | B: a hill | if true: B | if false: A\r\n"
      "Q: Is it cold?\n"
      "Q: Is it? | if true: perhaps | if false: no\n"
      "Q: Is it? | if true: yes | if false: yes\n"
      "Q: What? | A: | B: x | if true: A | if false: B\n"
      "Q: What? | B: x | A: y | if true: A | if false: B\n"
      "Q: Is it? | if true: A | if false: B\n",
      QuestionKind::kUse, dropped);
  ASSERT_EQ(questions.size(), 2u);
  EXPECT_EQ(questions[0].text, "Is it cold?");
  EXPECT_EQ(questions[0].if_true, 0u);
  EXPECT_THAT(questions[0].options, IsEmpty());
  EXPECT_EQ(questions[1].options[1], "a hill");
  EXPECT_EQ(questions[1].if_true, 1u);
  EXPECT_EQ(dropped["is not in the form"], 5);
  EXPECT_EQ(dropped["both sides answer alike"], 1);
}

// A model that knows the form, gives the answer away once in every kind, and says yes too often.
Result<std::vector<std::string>> scripted(std::span<const std::string> prompts) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].starts_with("Say this")) {
      texts.emplace_back("P: Kyiv lies in Ukraine.\nP: Ukraine has Kyiv.\nP: One finds Kyiv in Ukraine.\n");
      continue;
    }
    texts.push_back(
        fmt::format("Q: Is {0} ruled by Ukraine? | if true: yes | if false: no\n"
                    "Q: Is {0} so? | if true: yes | if false: no\n"
                    "Q: Is {0} even so? | if true: yes | if false: no\n"
                    "Q: Is {0} not so? | if true: no | if false: yes\n"
                    "Q: What is {0}? | A: this | B: that | if true: A | if false: B\n"
                    "Q: Which is {0}? | A: one | B: two | if true: A | if false: B\n",
                    i));
  }
  return texts;
}

TEST(Draft, KeepsWhatTheValidatorLetsPass) {
  const Propositions statements = *statements_to_draft(rows_of({{{"statement", "Kyiv is in Ukraine."}}}));
  const auto made = draft(statements, scripted, {});
  ASSERT_TRUE(made) << made.error().message;
  ASSERT_EQ(made->items.size(), 1u);
  EXPECT_THAT(check_propositions({"draft", made->items}), IsEmpty());
  EXPECT_EQ(made->dropped.at("gives the answer away"), 4);
  EXPECT_EQ(made->dropped.at("one yes or no too many"), 4);
  EXPECT_EQ(made->items[0].questions.size(), 16u);
  EXPECT_EQ(made->incomplete, 0);
}

TEST(Draft, CountsWhatDoesNotComeToPass) {
  const Propositions statements = *statements_to_draft(rows_of({{{"statement", "Kyiv is in Ukraine."}}}));
  int calls = 0;
  const auto silent = [&](std::span<const std::string> prompts) -> Result<std::vector<std::string>> {
    ++calls;
    return std::vector<std::string>(prompts.size(), "I had rather not.");
  };
  const auto made = draft(statements, silent, {.rounds = 2});
  ASSERT_TRUE(made);
  EXPECT_THAT(made->items, IsEmpty());
  EXPECT_EQ(made->incomplete, 1);
  EXPECT_EQ(calls, 2);
  const auto short_of = [](std::span<const std::string>) -> Result<std::vector<std::string>> {
    return std::vector<std::string>();
  };
  EXPECT_THAT(draft(statements, short_of, {}).error().message, HasSubstr("0 texts came for 5 prompts"));
}

TEST(QuestionPrompt, SaysWhatMayNotBeSaid) {
  const Propositions statements =
      *statements_to_draft(rows_of({{{"statement", "Kyiv is in Ukraine."}, {"answer", "Ukraine"}}}));
  const std::string prompt = question_prompt(statements.items[0], QuestionKind::kContradiction, 3);
  EXPECT_THAT(prompt, HasSubstr("Kyiv is in Ukraine."));
  EXPECT_THAT(prompt, HasSubstr("Do not use \"Ukraine\""));
  EXPECT_THAT(prompt, HasSubstr("rules out"));
  EXPECT_THAT(prompt, HasSubstr("Write 3 questions"));
}

}  // namespace
}  // namespace candor::belief
