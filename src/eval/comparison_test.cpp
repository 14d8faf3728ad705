#include "eval/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace candor::eval {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

ItemScores scores(const std::string& lines, const std::string& column = "") {
  const auto got = item_scores(*data::parse_json_rows(lines, "t.jsonl"), column);
  EXPECT_TRUE(got) << (got ? "" : got.error().message);
  return got ? *got : ItemScores{};
}

// n items of which those below `right` are right.
ItemScores first_right(int n, int right, int wrong_again = 0) {
  ItemScores result{"sums", {}, {}, true};
  for (int i = 0; i < n; ++i) {
    result.ids.push_back(std::to_string(i));
    result.scores.push_back(i < right && i >= wrong_again ? 1 : 0);
  }
  return result;
}

TEST(ItemScores, ReadsFlagsAndScores) {
  const ItemScores flags = scores("{\"id\":\"a\",\"correct\":true}\n{\"id\":7,\"correct\":0}");
  EXPECT_EQ(flags.ids, (std::vector<std::string>{"a", "7"}));
  EXPECT_EQ(flags.scores, (std::vector<double>{1, 0}));
  EXPECT_TRUE(flags.right_or_wrong);
  EXPECT_FALSE(scores("{\"id\":1,\"score\":0.25}").right_or_wrong);
  EXPECT_EQ(scores("{\"id\":1,\"correct\":true,\"correct_norm\":false}", "correct_norm").scores[0], 0);
}

TEST(ItemScores, SamplesOfAnItemAreAveraged) {
  const ItemScores got =
      scores("{\"id\":1,\"correct\":true}\n{\"id\":2,\"correct\":false}\n{\"id\":1,\"correct\":false}");
  EXPECT_EQ(got.scores, (std::vector<double>{0.5, 0}));
  EXPECT_FALSE(got.right_or_wrong);
}

TEST(ItemScores, NamesFileAndRow) {
  const auto message = [](const std::string& lines, const std::string& column = "") {
    return item_scores(*data::parse_json_rows(lines, "t.jsonl"), column).error().message;
  };
  EXPECT_EQ(
      message("{\"correct\":true}"),
      "[compare] t.jsonl row 1: expected a column \"id\" (text or a whole number) that names the item. candor eval "
      "--output writes one.");
  EXPECT_EQ(message("{\"id\":1}"),
            "[compare] t.jsonl row 1: there is no column \"correct\". --column names the one to compare.");
  EXPECT_EQ(message("{\"id\":1,\"correct\":true}\n{\"id\":2,\"correct\":\"yes\"}"),
            "[compare] t.jsonl row 2: \"correct\" is a string. Expected a number, true or false.");
  EXPECT_EQ(message("{\"id\":1,\"s\":NaN}", "s"), "[compare] t.jsonl row 1: \"s\" is not finite.");
}

// 30 against 70 of 100, all gains: b = 0, c = 40, so p = 2·2^-40. Newcombe's interval and Connor's difference as in
// statistics/paired_test.cpp.
TEST(CompareScores, RightOrWrong) {
  const auto got = *compare_scores(first_right(100, 30), first_right(100, 70));
  ASSERT_TRUE(got.counts);
  EXPECT_EQ(got.counts->only_after, 40);
  EXPECT_EQ(got.counts->only_before, 0);
  EXPECT_DOUBLE_EQ(got.difference, 0.4);
  EXPECT_NEAR(got.p_value, std::ldexp(1.0, -39), 1e-20);     // log-gamma's rounding
  EXPECT_NEAR(*got.detectable, 0.17510697786922796, 1e-12);  // of 100 items of which 40% change
  EXPECT_THAT(in_words(got, "A", "B"),
              StartsWith("B is better than A on sums: 30.0% to 70.0% on 100 items, +40.0 points "
                         "(95% interval +"));
  EXPECT_THAT(in_words(got, "A", "B"), HasSubstr(", p = 1.8e-12."));
  EXPECT_EQ(to_json(got)["test"], "mcnemar_exact");
  const auto back = *compare_scores(first_right(100, 70), first_right(100, 30));
  EXPECT_THAT(in_words(back, "A", "B"), StartsWith("B is worse than A on sums"));
}

TEST(CompareScores, NoDifference) {
  const auto same = *compare_scores(first_right(10, 5), first_right(10, 5));
  EXPECT_EQ(same.p_value, 1);
  EXPECT_FALSE(same.detectable);
  EXPECT_THAT(in_words(same, "A", "B"), StartsWith("No difference between A and B was shown on sums: "));
  EXPECT_THAT(in_words(same, "A", "B"), HasSubstr("Too few items changed for any difference to show."));
  const auto both_ways = *compare_scores(first_right(100, 50), first_right(100, 60, 12));
  EXPECT_GT(both_ways.p_value, 0.5);  // 12 lost, 10 gained
  EXPECT_THAT(in_words(both_ways, "A", "B"), HasSubstr("show a difference from "));
}

TEST(CompareScores, PairsByIdWhateverTheOrder) {
  ItemScores a = first_right(20, 5), b = first_right(20, 15);
  std::swap(b.ids[0], b.ids[19]);
  std::swap(b.scores[0], b.scores[19]);
  EXPECT_EQ(compare_scores(a, b)->counts->both, 5);
}

// Differences of sign_flip_test's table: p = 0.15625 (SciPy), mean 2.2/7.
TEST(CompareScores, ScoresByBootstrapAndSignFlips) {
  ItemScores a{"t", {"a", "b", "c", "d", "e", "f", "g"}, {0, 0, 0, 0, 0, 0, 0}, false}, b = a;
  b.scores = {0.5, -0.25, 1.0, 0.75, 0.0, 0.3, -0.1};
  const auto got = *compare_scores(a, b);
  EXPECT_FALSE(got.counts);
  EXPECT_DOUBLE_EQ(got.difference, 2.2 / 7);
  EXPECT_EQ(got.p_value, 0.15625);
  EXPECT_LT(got.interval.low, got.difference);
  EXPECT_GT(got.interval.high, got.difference);
  // (ppf(0.975) + ppf(0.8))·std/√7 with NumPy's std(ddof=1); the last bits of sums and quantiles.
  EXPECT_NEAR(*got.detectable, (1.959963984540054 + 0.8416212335729143) * 0.4625241306446307 / std::sqrt(7.0), 1e-12);
  EXPECT_EQ(to_json(got)["test"], "sign_flip");
}

TEST(CompareScores, RefusesOtherItems) {
  EXPECT_EQ(
      compare_scores(first_right(3, 1), first_right(2, 1)).error().message,
      "[compare] sums and sums are not of the same items: 1 of the first are missing in the second (\"2\", for one), "
      "0 of the second in the first. Evaluate both on the same rows.");
  EXPECT_EQ(compare_scores({"t", {}, {}, true}, {"t", {}, {}, true}).error().message,
            "[compare] t: there is no item to compare.");
}

TEST(Adjust, HolmOverTheTasks) {
  std::vector<ScoreComparison> tasks(3);
  tasks[0].p_value = 0.03;
  tasks[1].p_value = 0.01;
  tasks[2].p_value = 0.5;
  adjust(tasks);
  EXPECT_DOUBLE_EQ(tasks[0].p_adjusted, 0.06);
  EXPECT_DOUBLE_EQ(tasks[1].p_adjusted, 0.03);
  EXPECT_DOUBLE_EQ(tasks[2].p_adjusted, 0.5);
}

}  // namespace
}  // namespace candor::eval
