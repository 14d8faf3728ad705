#include "eval/report.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace candor::eval {
namespace {

// A task of n items with the answers 0, 1, … and completions of which those with a set flag are right.
Task numbers(int64_t n) {
  Task task;
  task.rows.name = "numbers";
  for (int64_t i = 0; i < n; ++i) {
    text::Json columns;
    columns["prompt"] = "Say it.";
    columns["answer"] = i;
    task.rows.rows.push_back({std::move(columns), i + 1, i + 1});
  }
  return task;
}

EvalResult graded(const std::vector<int>& right) {
  std::vector<Answered> completions;
  for (size_t i = 0; i < right.size(); ++i) completions.push_back({std::to_string(right[i] ? i : i + 1), 3, true});
  return *grade(numbers(right.size()), completions);
}

TEST(Grade, CountsAndExtracts) {
  const Task task = numbers(4);
  const auto got =
      *grade(task, std::vector<Answered>{{"0", 2, true}, {"It is 1.0.", 6, true}, {"maybe", 4, false}, {"2", 2, true}});
  EXPECT_EQ(got.correct, 2);
  EXPECT_EQ(got.accuracy, 0.5);
  EXPECT_EQ(got.mean_tokens, 3.5);
  EXPECT_EQ(got.unfinished, 1);
  EXPECT_EQ(got.items[1].answer, "1.0");
  EXPECT_EQ(got.items[2].answer, std::nullopt);
  EXPECT_FALSE(got.items[3].correct);
  EXPECT_EQ(got.items[3].gold, "3");
  // Clopper-Pearson for 2 of 4, from the beta quantiles B(0.025; 2, 3) and B(0.975; 3, 2) (scipy); six digits given.
  EXPECT_NEAR(got.interval.low, 0.067586, 1e-6);
  EXPECT_NEAR(got.interval.high, 0.932414, 1e-6);
  EXPECT_EQ(in_words(got), "2 of 4 (50%, 95% interval 7 to 93%)");
  EXPECT_EQ(to_json(got)["items"], 4);
}

TEST(Grade, NamesWhatIsMissing) {
  EXPECT_EQ(grade(numbers(2), std::vector<Answered>(3)).error().message,
            "[eval] numbers: expected 2 completions, one for each row, got 3.");
  Task task = numbers(2);
  task.rows.rows[1].columns["answer"] = nullptr;
  EXPECT_EQ(grade(task, std::vector<Answered>(2)).error().message,
            "[eval] numbers row 2: the answer is null. Evaluation needs an answer in every row.");
}

TEST(Grade, NoItemsSayNothing) {
  const auto got = *grade(numbers(0), {});
  EXPECT_EQ(got.accuracy, 0);
  EXPECT_EQ(got.interval.low, 0);
  EXPECT_EQ(got.interval.high, 1);
}

TEST(Compare, LooksOnlyAtItemsThatChanged) {
  // Six items became right and one wrong: p = 2·(C(7,0) + C(7,1)) / 2^7 = 16 / 128.
  std::vector<int> before(20, 0), after(20, 0);
  std::fill(before.begin(), before.begin() + 5, 1);
  std::fill(after.begin() + 1, after.begin() + 11, 1);
  const auto got = *compare(graded(before), graded(after));
  EXPECT_EQ(got.counts.both, 4);
  EXPECT_EQ(got.counts.only_before, 1);
  EXPECT_EQ(got.counts.only_after, 6);
  EXPECT_EQ(got.counts.neither, 9);
  EXPECT_NEAR(got.p_value, 0.125, 1e-12);  // binomial terms go through logarithms
  EXPECT_DOUBLE_EQ(got.difference, 0.25);
  EXPECT_LT(got.interval.low, 0.25);
  EXPECT_GT(got.interval.high, 0.25);
  const auto back = *compare(graded(after), graded(before));
  EXPECT_DOUBLE_EQ(back.difference, -0.25);
  EXPECT_NEAR(back.p_value, 0.125, 1e-12);  // the same
  EXPECT_EQ(to_json(got)["only_after"], 6);
  EXPECT_EQ(in_words(got).substr(0, 23), "25% to 50%, +25 points ");
}

TEST(Compare, RefusesDifferentItems) {
  EXPECT_EQ(compare(graded({1, 1}), graded({1})).error().message,
            "[eval] the results of \"numbers\" and \"numbers\" are not of the same items: 2 and 1.");
  EvalResult other = graded({1, 1});
  other.items[1].gold = "9";
  EXPECT_EQ(compare(graded({1, 1}), other).error().message,
            "[eval] the results of \"numbers\" and \"numbers\" are not of the same items: item 2 has another answer.");
}

}  // namespace
}  // namespace candor::eval
