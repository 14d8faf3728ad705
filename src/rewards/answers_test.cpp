#include "rewards/answers.h"

#include <gtest/gtest.h>

#include "data/rows.h"
#include "support/oracle.h"

namespace candor::rewards {
namespace {

using text::Json;

std::string last(std::string_view text) {
  return last_number(text).value_or("none");
}

std::string extracted(std::string_view text, std::string_view name) {
  return extract_answer(text, *make_extractor(name))->value_or("none");
}

std::string gold(const char* row, std::string_view name) {
  const auto answer = gold_answer(Json::parse(row), *make_extractor(name));
  if (!answer) return "error: " + answer.error().message;
  return answer->value_or("null");
}

TEST(LastNumber, FindsWhatAPersonWouldRead) {
  EXPECT_EQ(last("5 + 7 = 12"), "12");
  EXPECT_EQ(last("The answer is 12."), "12");
  EXPECT_EQ(last("12.50 dollars"), "12.50");
  EXPECT_EQ(last("It is 1,234,567.8 in all"), "1,234,567.8");
  EXPECT_EQ(last("1, 2, 3"), "3");
  EXPECT_EQ(last("1,2"), "2");
  EXPECT_EQ(last("12,34"), "34");
  EXPECT_EQ(last("16-3"), "3");
  EXPECT_EQ(last("(16)-3"), "3");
  EXPECT_EQ(last("x = -3"), "-3");
  EXPECT_EQ(last("x=\xE2\x88\x92"
                 "3"),
            "-3");
  EXPECT_EQ(last("-$3.50"), "-3.50");
  EXPECT_EQ(last("GPT-4"), "4");
  EXPECT_EQ(last("1e3 or 2.5E-7"), "2.5E-7");
  EXPECT_EQ(last("7 eggs"), "7");
  EXPECT_EQ(last("about .5"), ".5");
  EXPECT_EQ(last("well...5"), "5");
  EXPECT_EQ(last("1.2.3"), "3");
  EXPECT_EQ(last("no number."), "none");
  EXPECT_EQ(last(""), "none");
  EXPECT_EQ(last("- . , $ e"), "none");
}

TEST(ParseDecimal, ValuesNotSpellings) {
  for (const char* thousand :
       {"1000", "1,000", "1000.0", "1e3", "+1000", "$1,000", "001000", "0.1e4", "10000e-1", "\\$1000.00"}) {
    EXPECT_TRUE(same_answer(thousand, "1000")) << thousand;
  }
  for (const char* other : {"-1000", "100", "1001", "1000.0000000000000000001", "1e4", "10,00", "1,0000", "thousand",
                            "", "1000 eggs", "1e9999999999"}) {
    EXPECT_FALSE(same_answer(other, "1000")) << other;
  }
  EXPECT_TRUE(same_answer("-0", "0.00"));
  EXPECT_TRUE(same_answer("72.", " 72 "));
  EXPECT_TRUE(same_answer("50%", "50\\%"));
  EXPECT_TRUE(same_answer("-$5", "$-5"));
  EXPECT_FALSE(same_answer("0.1", "0.10000000000000000555"));  // equal as doubles
  EXPECT_TRUE(same_answer(" Paris ", "Paris"));
  EXPECT_FALSE(same_answer("paris", "Paris"));
  EXPECT_FALSE(parse_decimal("--1"));
  EXPECT_FALSE(parse_decimal("1-1"));
  EXPECT_FALSE(parse_decimal("."));
}

TEST(ExtractAnswer, EveryKind) {
  EXPECT_EQ(extracted("first \\boxed{1}, then \\boxed{\\frac{1}{2}} done 9", "boxed"), "\\frac{1}{2}");
  EXPECT_EQ(extracted("cut off \\boxed{\\frac{1}", "boxed"), "none");
  EXPECT_EQ(extracted("12", "boxed"), "none");
  EXPECT_EQ(extracted("so\n#### 1,234 clips\nQuestion: 7\n#### 8", "gsm8k"), "1,234");
  EXPECT_EQ(extracted("#### -$5", "gsm8k"), "-5");
  EXPECT_EQ(extracted("####  Paris \n", "gsm8k"), "Paris");
  EXPECT_EQ(extracted("####\n", "gsm8k"), "none");
  EXPECT_EQ(extracted("72", "gsm8k"), "none");
  EXPECT_EQ(extracted(" \n72 \t", "exact"), "72");
  EXPECT_EQ(extracted("A: 1 A: 2", "regex:A: (\\d)"), "2");
  EXPECT_EQ(extracted("A: 1 B: 2", "regex:[AB]: \\d"), "B: 2");
  EXPECT_EQ(extracted("aaa", "regex:x*"), "");
  EXPECT_EQ(extracted("b", "regex:a"), "none");
}

TEST(ExtractAnswer, ABadNameOrPatternIsAnError) {
  EXPECT_EQ(
      make_extractor("lastnumber").error().message,
      "[accuracy] unknown extraction \"lastnumber\". Expected last_number, boxed, gsm8k, exact or regex:PATTERN. Did "
      "you mean \"last_number\"?");
  EXPECT_EQ(make_extractor("regex:(a").error().message,
            "[accuracy] the regular expression \"(a\" is wrong at character 2: missing closing parenthesis.");
}

TEST(GoldAnswer, ReadsTheRow) {
  EXPECT_EQ(gold(R"({"answer": 12})", "last_number"), "12");
  EXPECT_EQ(gold(R"({"answer": 12.5})", "exact"), "12.5");
  EXPECT_EQ(gold(R"({"answer": "Half of 48 is 24.\n#### 72"})", "last_number"), "72");
  EXPECT_EQ(gold(R"({"solution": "so $x = \\boxed{7}$."})", "boxed"), "7");
  EXPECT_EQ(gold(R"({"answer": " Paris "})", "exact"), "Paris");
  EXPECT_EQ(gold(R"({"answer": "72 clips"})", "last_number"), "72");
  EXPECT_EQ(gold(R"({"answer": null, "solution": "4"})", "exact"), "null");
}

TEST(GoldAnswer, SaysWhatIsMissing) {
  EXPECT_EQ(gold(R"({"prompt": "2+2"})", "exact"),
            "error: the row has no column \"answer\" (or \"solution\") to compare with. Add it.");
  EXPECT_EQ(gold(R"({"answer": ["4"]})", "exact"),
            "error: the column \"answer\" is a array. Expected text or a number.");
  EXPECT_EQ(gold(R"({"answer": " "})", "exact"),
            "error: the column \"answer\" is empty. Give the answer, or null where there is none.");
  EXPECT_EQ(gold(R"({"answer": "Paris"})", "last_number"),
            "error: the column \"answer\" is \"Paris\", which holds no number. Choose another extraction, e.g. exact.");
}

TEST(Regex, EndsInAnErrorWhenItRunsAway) {
  const auto regex = *Regex::compile("(a+)+[bc]");
  const std::string text(40, 'a');
  EXPECT_EQ(
      regex.matches_all(text).error().message,
      "the regular expression \"(a+)+[bc]\" gave up on a text of 40 bytes: match limit exceeded. Make it simpler.");
  EXPECT_FALSE(regex.last_match(text));
}

TEST(Regex, TakesTextThatIsNoUtf8) {
  const auto regex = *Regex::compile("a.c");
  EXPECT_FALSE(
      *regex.matches_all("a\xff"
                         "c"));
  EXPECT_TRUE(
      *regex.matches_all("a\xC3\xA9"
                         "c"));
  EXPECT_EQ(regex
                .last_match("\xff\xff"
                            "abc\xff")
                ->value(),
            "abc");
}

// OpenAI's own verdict on four models' solutions to the 1,319 test questions of GSM8K: 5,276 of 5,276 agree.
TEST(Answers, AgreeWithTheFlagsOfGsm8kSolutions) {
  const auto path = testing::shared_dir() / "data/gsm8k/example_model_solutions.jsonl";
  CANDOR_REQUIRE_FILE(path);
  const auto rows = *data::read_rows(path);
  const auto extractor = *make_extractor("last_number");
  int total = 0, correct = 0;
  for (const auto& row : rows.rows) {
    const auto right = *gold_answer(Json{{"answer", row.columns["ground_truth"]}}, extractor);
    for (const char* model : {"6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"}) {
      const Json& solution = row.columns[model];
      const auto answer = *extract_answer(solution["solution"].get<std::string>(), extractor);
      const bool is_correct = answer && same_answer(*answer, *right);
      EXPECT_EQ(is_correct, solution["is_correct"].get<bool>()) << place(path.string(), row) << " " << model;
      ++total;
      correct += is_correct;
    }
  }
  EXPECT_EQ(total, 5276);
  EXPECT_GT(correct, 1500);  // the flags are of both kinds
  EXPECT_LT(correct, 3500);
}

}  // namespace
}  // namespace candor::rewards
