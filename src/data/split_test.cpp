#include "data/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace candor::data {
namespace {

using ::testing::HasSubstr;

Rows numbered(int64_t count, int64_t per_prompt = 1) {
  std::string lines;
  for (int64_t i = 0; i < count; ++i) lines += fmt::format("{{\"n\": {}, \"prompt\": \"p{}\"}}\n", i, i / per_prompt);
  return *parse_json_rows(lines, "f");
}

std::vector<int64_t> numbers(const Rows& rows) {
  std::vector<int64_t> result;
  for (const Row& row : rows.rows) result.push_back(row.columns["n"]);
  return result;
}

TEST(SplitRows, IsAPartitionInTheFilesOrder) {
  const Rows rows = numbered(100);
  const auto split = split_rows(rows, {.eval_share = 0.25, .seed = 7});
  ASSERT_TRUE(split);
  const auto train = numbers(split->train), eval = numbers(split->eval);
  EXPECT_EQ(eval.size(), 25u);
  EXPECT_TRUE(std::is_sorted(train.begin(), train.end()) && std::is_sorted(eval.begin(), eval.end()));
  std::set<int64_t> all(train.begin(), train.end());
  all.insert(eval.begin(), eval.end());
  EXPECT_EQ(all.size(), 100u);
  EXPECT_EQ(numbers(split_rows(rows, {.eval_share = 0.25, .seed = 7})->eval), eval);
  EXPECT_NE(numbers(split_rows(rows, {.eval_share = 0.25, .seed = 8})->eval), eval);
  EXPECT_EQ(shared_prompts(*split), 0);
}

// Every row is as likely as any other: over 400 seeds each of 10 is held out 3 times in 10 (binomial, 120 ± 9.2; five
// standard deviations are allowed).
TEST(SplitRows, DrawsEvenly) {
  const Rows rows = numbered(10);
  std::vector<int> held(10, 0);
  for (uint64_t seed = 0; seed < 400; ++seed)
    for (const int64_t n : numbers(split_rows(rows, {.eval_rows = 3, .seed = seed})->eval)) ++held[n];
  for (const int count : held) EXPECT_NEAR(count, 120, 46);
}

TEST(SplitRows, GroupsStayTogether) {
  const Rows rows = numbered(100, 4);
  EXPECT_GT(shared_prompts(*split_rows(rows, {.eval_rows = 20, .seed = 1})), 0);
  const auto split = split_rows(rows, {.eval_rows = 22, .seed = 1, .group_by = "prompt"});
  ASSERT_TRUE(split);
  EXPECT_EQ(split->eval.rows.size(), 20u);  // five whole groups fit
  EXPECT_EQ(shared_prompts(*split), 0);
  EXPECT_EQ(split_rows(numbered(12, 6), {.eval_rows = 2, .group_by = "prompt"})->eval.rows.size(), 6u);
}

TEST(SplitRows, RefusesWhatLeavesNothing) {
  EXPECT_EQ(split_rows(numbered(3), {.eval_rows = 3}).error().message,
            "f: 3 of 3 rows cannot be held out. Expected at least 1, and at least 1 left to train on.");
  EXPECT_THAT(split_rows(numbered(3), {.eval_rows = 0}).error().message, HasSubstr("0 of 3"));
  EXPECT_THAT(split_rows(numbered(6, 6), {.eval_rows = 2, .group_by = "prompt"}).error().message,
              HasSubstr("all rows have the same \"prompt\""));
  EXPECT_THAT(split_rows(numbered(6), {.eval_rows = 2, .group_by = "q"}).error().message,
              HasSubstr("f row 1: there is no column \"q\"."));
}

}  // namespace
}  // namespace candor::data
