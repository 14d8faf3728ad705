#include "eval/samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>

namespace candor::eval {
namespace {

using Estimator = std::function<double(int64_t samples, int64_t correct, int64_t k)>;

// How far it is from Python's 1 - comb(n - c, k) / comb(n, k), whole numbers until the last division.
double farthest(const Estimator& estimator) {
  struct Row {
    int64_t n, c, k;
    double p;
  };
  double worst = 0;
  for (const Row& r :
       {Row{10, 3, 1, 0.3}, Row{10, 3, 5, 0.9166666666666666}, Row{200, 7, 100, 0.9929911172418123}, Row{8, 0, 4, 0.0},
        Row{8, 8, 4, 1.0}, Row{5, 2, 4, 1.0}, Row{64, 1, 16, 0.25}, Row{1, 0, 1, 0.0}, Row{1, 1, 1, 1.0}})
    worst = std::max(worst, std::abs(estimator(r.n, r.c, r.k) - r.p));
  return worst;
}

TEST(PassAtK, IsTheShareOfDrawsWithARightOne) {
  EXPECT_LT(farthest(pass_at_k), 1e-14);  // seven factors round
  const auto share = [](int64_t c, int64_t n) { return static_cast<double>(c) / static_cast<double>(n); };
  const std::vector<std::pair<std::string, Estimator>> twins = {
      {"drawn with replacement",
       [&](int64_t n, int64_t c, int64_t k) { return 1 - std::pow(1 - share(c, n), static_cast<double>(k)); }},
      {"any right one of all", [](int64_t, int64_t c, int64_t) { return c > 0 ? 1.0 : 0.0; }},
      {"k ignored", [&](int64_t n, int64_t c, int64_t) { return share(c, n); }},
      {"one right answer too few",
       [](int64_t n, int64_t c, int64_t k) { return c == 0 ? 0.0 : pass_at_k(n, c - 1, k); }}};
  for (const auto& [name, twin] : twins) EXPECT_GT(farthest(twin), 1e-3) << name;
}

// Its mean over the binomial of c is the true 1 - (1-p)^k: unbiased, which the twin is not.
TEST(PassAtK, IsUnbiased) {
  const int64_t n = 12, k = 4;
  const double p = 0.2;
  double mean = 0, twin = 0;
  for (int64_t c = 0; c <= n; ++c) {
    const double chance = std::exp(std::lgamma(n + 1.0) - std::lgamma(c + 1.0) - std::lgamma(n - c + 1.0)) *
                          std::pow(p, static_cast<double>(c)) * std::pow(1 - p, static_cast<double>(n - c));
    mean += chance * pass_at_k(n, c, k);
    twin += chance * (1 - std::pow(1 - static_cast<double>(c) / n, k));
  }
  EXPECT_NEAR(mean, 1 - std::pow(0.8, 4), 1e-12);  // lgamma's rounding
  EXPECT_GT(std::abs(twin - mean), 0.01);
}

SampledItem item(const std::vector<std::string>& answers, const std::string& gold) {
  SampledItem result;
  result.gold = gold;
  for (const std::string& answer : answers) {
    Sample& sample = result.samples.emplace_back();
    if (!answer.empty()) sample.answer = answer;
    sample.correct = answer == gold || answer == gold + ".0";
  }
  return result;
}

TEST(MajorityAtK, CountsVoices) {
  EXPECT_TRUE(majority_correct(item({"4", "5", "4"}, "4"), 3));
  EXPECT_FALSE(majority_correct(item({"5", "5", "4"}, "4"), 3));
  EXPECT_TRUE(majority_correct(item({"5", "4", "4.0"}, "4"), 3));  // one number in two spellings
  EXPECT_FALSE(majority_correct(item({"5", "4"}, "4"), 2));        // a tie goes to the earlier
  EXPECT_TRUE(majority_correct(item({"4", "5"}, "4"), 2));         // …
  EXPECT_TRUE(majority_correct(item({"", "", "4"}, "4"), 3));      // silence has no voice
  EXPECT_FALSE(majority_correct(item({"", ""}, "4"), 2));          // nobody said anything
  EXPECT_FALSE(majority_correct(item({"5", "4", "4"}, "4"), 1));   // only the first k are asked
}

Task two_questions() {
  return *task_from_rows(
      *data::parse_json_rows("{\"prompt\":\"2+2=\",\"answer\":4}\n{\"prompt\":\"1+1=\",\"answer\":2}", "t.jsonl"),
      "last_number");
}

TEST(GradeSamples, GivesPassAndMajorityAtEveryPowerOfTwo) {
  const auto said = [](const char* text) { return Answered{text, 3, true}; };
  const std::vector<Answered> completions = {said("4"), said("5"), said("so 4"), said("none"), said("4.0"), said("7"),
                                             // of the second item
                                             said("3"), said("3"), said("2"), said("2"), said("2"), said("9")};
  const auto got = grade_samples(two_questions(), completions, 6);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->items[0].correct, 3);
  EXPECT_EQ(got->items[1].correct, 3);
  std::vector<int64_t> ks;
  for (const AtK& at : got->at) ks.push_back(at.k);
  EXPECT_EQ(ks, (std::vector<int64_t>{1, 2, 4, 6}));
  EXPECT_DOUBLE_EQ(got->at[0].pass, 0.5);               // both items 3 of 6
  EXPECT_NEAR(got->at[1].pass, 1 - 3.0 / 15.0, 1e-15);  // 1 - C(3,2)/C(6,2); rounding of two factors
  EXPECT_DOUBLE_EQ(got->at[3].pass, 1.0);
  EXPECT_DOUBLE_EQ(got->at[0].majority, 0.5);  // the first samples: 4 is right, 3 is wrong
  EXPECT_DOUBLE_EQ(got->at[2].majority, 0.5);  // 4 5 4: right; 3 3 2 2: the earlier, wrong
  EXPECT_DOUBLE_EQ(got->at[3].majority, 1.0);
  EXPECT_DOUBLE_EQ(got->mean_tokens, 3);
  EXPECT_EQ(to_json(*got)["at"][1]["k"], 2);
}

TEST(GradeSamples, NamesAWrongNumberOfCompletions) {
  EXPECT_EQ(grade_samples(two_questions(), std::vector<Answered>(3), 2).error().message,
            "[eval] t.jsonl: expected 4 completions, 2 for each row, got 3.");
}

}  // namespace
}  // namespace candor::eval
