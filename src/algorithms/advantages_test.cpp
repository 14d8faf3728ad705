#include "algorithms/advantages.h"

#include <gtest/gtest.h>

#include "algorithms/golden_case.h"
#include "support/oracle.h"

namespace candor::algorithms {
namespace {

using candor::testing::golden;
using candor::testing::read_text;
using testing::difference;
using testing::json;
using testing::number;
using testing::tensor;

AdvantageOptions options_of(const json& config) {
  AdvantageOptions o;
  const std::string scale = config["scale_rewards"];
  o.scale_rewards = scale == "group"   ? ScaleRewards::kGroup
                    : scale == "batch" ? ScaleRewards::kBatch
                                       : ScaleRewards::kNone;
  if (config["multi_objective_aggregation"] == "normalize_then_sum")
    o.aggregation = RewardAggregation::kNormalizeThenSum;
  if (!config["reward_weights"].is_null()) o.reward_weights = tensor(config, "reward_weights");
  return o;
}

TEST(Advantages, EveryGoldenCase) {
  const auto path = golden("losses/grpo_advantages.json");
  CANDOR_REQUIRE_FILE(path);
  int ran = 0;
  const json cases = json::parse(read_text(path))["cases"];
  for (const json& c : cases) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const auto& shape = c["inputs"]["rewards"]["shape"];
    const auto parts = tensor(c["inputs"], "rewards");
    const auto got = group_advantages(parts, shape[2], shape[1], options_of(c["config"]));
    ASSERT_TRUE(got) << got.error().message;
    const auto expected = tensor(c["outputs"], "advantages");
    ASSERT_EQ(got->advantages.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_LE(difference(got->advantages[i], expected[i]), 1e-12) << "row " << i;  // float64 on both sides
    std::vector<std::string> names;
    for (size_t k = 0; k < shape[2].get<size_t>(); ++k) names.push_back("reward_" + std::to_string(k));
    const Metrics metrics = got->metrics(names);
    EXPECT_EQ(metrics.size(), c["outputs"]["metrics"].size() + 1);
    for (const Metric& m : metrics) {
      if (m.name == "unscored_rows") continue;  // ours
      EXPECT_LE(difference(m.value, number(c["outputs"]["metrics"].at(m.name))), 1e-12) << m.name;
    }
    ++ran;
  }
  EXPECT_EQ(ran, 24);
}

// Groups of 2 rows with 2 parts each, for dynamic sampling.
TEST(Advantages, GroupsWithSpread) {
  const double nan = std::nan("");
  const std::vector<double> parts{1,   0,   0,   1,     // the parts differ, their sum does not
                                  1,   0,   1,   0.5,   // spread
                                  nan, 1,   nan, 1,     // none
                                  1,   nan, 0,   nan,   // spread in what was scored
                                  1,   1,   nan, nan};  // one scored row
  using Flags = std::vector<uint8_t>;
  EXPECT_EQ(groups_with_spread(parts, 2, 2, {}), (Flags{0, 1, 0, 1, 0}));
  AdvantageOptions o;
  o.reward_weights = {1, 0};
  EXPECT_EQ(groups_with_spread(parts, 2, 2, o), (Flags{1, 0, 0, 1, 0}));
  o.reward_weights = {};
  o.aggregation = RewardAggregation::kNormalizeThenSum;
  EXPECT_EQ(groups_with_spread(parts, 2, 2, o), (Flags{1, 1, 0, 1, 0}));
}

TEST(Advantages, UnscoredRowsAreCounted) {
  const std::vector<double> parts{1, std::nan(""), 0, std::nan("")};
  const auto got = group_advantages(parts, 1, 2, {});
  ASSERT_TRUE(got);
  EXPECT_EQ(got->unscored, 2u);
  EXPECT_EQ(got->advantages[1], 0);
}

std::vector<double> advantages_of(const std::vector<double>& rewards, size_t group_size, AdvantageOptions o = {}) {
  auto got = group_advantages(rewards, 1, group_size, o);
  return got ? got->advantages : std::vector<double>();
}

// Two rewards 0 and 1: mean 1/2, std with n-1 is sqrt(1/2), so ±0.5/(0.70710678 + 1e-4) = ±0.707007. With n it would be
// ±0.5/(0.5 + 1e-4) = ±0.9998. Eight rewards: the two differ by sqrt(8/7) = 1.069 (closed_forms.json).
TEST(Advantages, OnPaper) {
  const auto two = advantages_of({0, 1}, 2);
  EXPECT_NEAR(two[0], -0.7070067953266834, 1e-15);
  EXPECT_NEAR(two[1], 0.7070067953266834, 1e-15);
  const auto eight = advantages_of({0, 0, 0, 0, 1, 1, 1, 1}, 8);
  EXPECT_NEAR(eight[7], 0.5 / (0.5 * 1.0690449676496976 + 1e-4), 1e-15);
}

// Ten rewards of 0.7 have a mean that is not 0.7 in floating point; the residue must not become an advantage.
TEST(Advantages, GroupWithoutSpreadIsExactlyZeroAndCounted) {
  std::vector<double> rewards(10, 0.7);
  for (int i = 0; i < 10; ++i) rewards.push_back(i == 3 ? 1.0 : 0.1);
  for (auto scale : {ScaleRewards::kGroup, ScaleRewards::kBatch, ScaleRewards::kNone}) {
    const auto got = group_advantages(rewards, 1, 10, {scale, RewardAggregation::kSumThenNormalize, {}});
    ASSERT_TRUE(got);
    for (size_t i = 0; i < 10; ++i) EXPECT_EQ(got->advantages[i], 0.0);
    EXPECT_GT(got->advantages[13], 0.0);
    EXPECT_EQ(got->groups_without_spread, 1u);
  }
}

TEST(Advantages, AffineRewardsGiveTheSameAdvantagesWithoutScalingOfTheOffset) {
  const std::vector<double> rewards{0.1, 0.9, 0.4, 0.2, 0.3, 0.8, 0.5, 0.7};
  auto shifted = rewards;
  for (double& r : shifted) r += 5;
  const auto a = advantages_of(rewards, 4), b = advantages_of(shifted, 4);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-13);  // the shift rounds the rewards, 4e-16 each
}

// Reward 1 and 0, KL penalties 0.5 and 0: the scores are 0.5 and 0; the logged reward keeps 1 and 0.
TEST(Advantages, PenaltyIsSubtractedBeforeTheMeanAndNotLogged) {
  const std::vector<double> parts{1, 0}, penalties{0.5, 0};
  const auto got = group_advantages(parts, 1, 2, {ScaleRewards::kNone, {}, {}}, penalties);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->advantages, (std::vector<double>{0.25, -0.25}));
  EXPECT_EQ(got->reward, 0.5);
}

// verl adds 1e-6 to the deviation, OpenRLHF 1e-9: 0.5 / (sqrt(1/2) + epsilon).
TEST(Advantages, EpsilonOfTheDeviation) {
  const std::vector<double> rewards{0, 1};
  for (const double epsilon : {1e-4, 1e-6, 1e-9, 0.0})
    for (const auto aggregation : {RewardAggregation::kSumThenNormalize, RewardAggregation::kNormalizeThenSum}) {
      const auto got = group_advantages(rewards, 1, 2, {ScaleRewards::kGroup, aggregation, {}, epsilon});
      const double once = 0.5 / (std::sqrt(0.5) + epsilon);
      // Normalised in the group and then in the batch: ±once have the deviation sqrt(2)·once.
      const double want =
          aggregation == RewardAggregation::kSumThenNormalize ? once : once / (std::sqrt(2.0) * once + epsilon);
      EXPECT_NEAR(got->advantages[1], want, 1e-15);
    }
}

// The rewards alone, also of groups of one; the penalties count in the spread only.
TEST(Advantages, StatisticsOfRewardsAlone) {
  const std::vector<double> parts{1, 2, 1, 4}, weights{1, 0.5}, penalties{0, 1};
  const auto got = reward_statistics(parts, 2, 1, weights);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->rewards, (std::vector<double>{2, 3}));
  EXPECT_TRUE(got->advantages.empty());
  EXPECT_EQ(got->reward, 2.5);
  EXPECT_EQ(got->part_means, (std::vector<double>{1, 3}));
  EXPECT_EQ(got->frac_reward_zero_std, 0);  // one number is neither with nor without spread
  EXPECT_EQ(reward_statistics(parts, 2, 2, weights)->frac_reward_zero_std, 0);
  EXPECT_EQ(reward_statistics(parts, 2, 2, weights, penalties)->frac_reward_zero_std, 1);
  const std::vector<double> infinite{INFINITY};
  EXPECT_FALSE(reward_statistics(infinite, 1, 1, {}));
}

TEST(Advantages, Errors) {
  const std::vector<double> one{1.0}, two{1.0, 0.0}, infinite{1.0, INFINITY};
  EXPECT_EQ(
      group_advantages(one, 1, 1, {}).error().message,
      "[advantages] num_generations is 1, but a group needs at least 2 completions to be compared with each other. "
      "Raise num_generations.");
  EXPECT_EQ(group_advantages(infinite, 1, 2, {}).error().message,
            "[advantages] row 1: reward 0 is infinite; a reward must be a finite number or abstain.");
  EXPECT_EQ(
      group_advantages(two, 1, 2, {{}, RewardAggregation::kNormalizeThenSum, {}}, two).error().message,
      "[advantages] the KL is in the reward, which normalize_then_sum would normalize away. Use sum_then_normalize, "
      "or put the KL in the loss.");
}

TEST(Advantages, NobodyScoredAnything) {
  const std::vector<double> parts(4, kAbstain);
  const auto got = group_advantages(parts, 1, 2, {});
  ASSERT_TRUE(got);
  EXPECT_EQ(got->advantages, std::vector<double>(4, 0.0));
  EXPECT_TRUE(std::isnan(got->reward));
  EXPECT_EQ(got->groups_without_spread, 0u);
  EXPECT_TRUE(group_advantages({}, 2, 2, {})->advantages.empty());
}

// What people get wrong: each twin must differ from what OnPaper and the golden cases demand.
TEST(Advantages, BrokenTwinsAreRejected) {
  const std::vector<double> rewards{1.0, 0.0, 0.5, 0.25};
  const double mean = 0.4375, squares = 0.5625 * 0.5625 + 0.4375 * 0.4375 + 0.0625 * 0.0625 + 0.1875 * 0.1875;
  const auto truth = advantages_of(rewards, 4);
  auto twin = [&](double m, double denominator) { return (rewards[0] - m) / denominator; };
  EXPECT_LE(difference(twin(mean, std::sqrt(squares / 3) + 1e-4), truth[0]), 1e-15);  // the right one
  const std::vector<std::pair<std::string, double>> twins{
      {"std with n", twin(mean, std::sqrt(squares / 4) + 1e-4)},
      {"1e-6 in the denominator", twin(mean, std::sqrt(squares / 3) + 1e-6)},
      {"mean of the others", twin((4 * mean - rewards[0]) / 3, std::sqrt(squares / 3) + 1e-4)},
      {"variance for std", twin(mean, squares / 3 + 1e-4)},
      {"sign", -truth[0]}};
  for (const auto& [name, value] : twins) EXPECT_GT(difference(value, truth[0]), 1e-12) << name;
}

}  // namespace
}  // namespace candor::algorithms
