// RLOO against TRL 1.16 (every case of golden/losses/rloo.json), REINFORCE++ and ReMax on paper (no public trainer's
// numbers are at hand), and twins.
#include "algorithms/rloo.h"

#include <gtest/gtest.h>

#include <functional>

#include "algorithms/advantages.h"
#include "algorithms/golden_numbers.h"
#include "algorithms/grpo.h"
#include "algorithms/kl.h"

namespace candor::algorithms::testing {
namespace {

using candor::testing::golden;

struct RlooCase {
  PaddedRows rows;
  std::vector<double> logprobs, old_logprobs, reference, entropies, parts;
  size_t reward_count, group_size;
  RlooOptions advantages;
  AdvantageOptions rewards;
  GrpoOptions loss;
  double beta;

  explicit RlooCase(const json& c) : rows(c["inputs"]["mask"], plain_order(c["inputs"]["mask"]["shape"][0])) {
    const json &in = c["inputs"], &config = c["config"];
    logprobs = tensor(in, "logprobs"), old_logprobs = tensor(in, "old_logprobs");
    reference = tensor(in, "reference_logprobs"), entropies = tensor(in, "entropies"), parts = tensor(in, "rewards");
    group_size = in["rewards"]["shape"][1], reward_count = in["rewards"]["shape"][2];
    if (!config["reward_clip_range"].is_null())
      advantages.reward_clip_range = {config["reward_clip_range"][0], config["reward_clip_range"][1]};
    advantages.normalize_advantages = config["normalize_advantages"];
    if (!config["reward_weights"].is_null()) flatten(config["reward_weights"], rewards.reward_weights);
    beta = config["beta"];
    loss.loss_type = LossType::kGrpo;
    loss.importance_sampling_level = RatioLevel::kSequenceSum;
    loss.epsilon = config["epsilon"];
    if (!config["epsilon_high"].is_null()) loss.epsilon_high = config["epsilon_high"].get<double>();
  }
};

std::string mismatch(const json& c, const RlooCase& r) {
  const auto groups = group_advantages(r.parts, r.reward_count, r.group_size, r.rewards);
  if (!groups) return groups.error().message;
  std::vector<double> penalties;
  if (!r.reference.empty()) penalties = row_kl_k1(r.rows.rows(), r.old_logprobs, r.reference);
  const double kl_sum = [&] {
    double sum = 0;
    for (double k : penalties) sum += k;
    return sum;
  }();
  for (double& penalty : penalties) penalty *= r.beta;
  const auto advantages = rloo_advantages(groups->rewards, r.group_size, r.advantages, penalties);
  const auto weights = loss_normalizer(r.rows.rows(), LossType::kGrpo, {0, 0, 1, 0}).row_weights;
  GrpoInputs in;
  in.rows = r.rows.rows();
  in.logprobs = r.logprobs, in.old_logprobs = r.old_logprobs, in.entropies = r.entropies;
  in.advantages = advantages, in.row_weights = weights;
  const GrpoLoss loss = grpo_loss(in, r.loss);
  Comparison compare{c};
  compare.list_is("advantages", advantages, tensor(c["outputs"]["intermediates"], "advantages"));
  compare.number_is("loss", loss.loss(), number(c["outputs"]["loss"]));
  compare.list_is("d_logprobs", loss.d_logprobs, tensor(c["outputs"]["gradients"], "logprobs"));
  Metrics metrics = grpo_metrics(loss.rows, r.loss, {true, false});
  std::vector<std::string> names;
  for (size_t k = 0; k < r.reward_count; ++k) names.push_back("reward_" + std::to_string(k));
  for (const Metric& metric : groups->metrics(names)) metrics.push_back(metric);
  metrics.push_back({"kl", kl_sum / static_cast<double>(r.rows.rows().counted())});
  // TRL's zero std is that of the rewards less the KL, which are hardly ever equal; ours says what the rewards tell.
  std::vector<std::string> left_out;
  if (!penalties.empty()) left_out = {"frac_reward_zero_std"};
  compare.metrics_are(metrics, c["outputs"]["metrics"], left_out);
  return compare.wrong;
}

TEST(RlooGolden, EveryCaseAndItsTwins) {
  CANDOR_REQUIRE_FILE(golden("losses/rloo.json"));
  const auto cases = golden_cases("rloo.json");
  EXPECT_EQ(cases.size(), 13u);
  const std::vector<std::pair<std::string, std::function<void(RlooCase&)>>> twins{
      {"the ratio length-normalised", [](RlooCase& r) { r.loss.importance_sampling_level = RatioLevel::kSequence; }},
      {"a ratio per token", [](RlooCase& r) { r.loss.importance_sampling_level = RatioLevel::kToken; }},
      {"no KL in the reward", [](RlooCase& r) { r.beta = 0; }},
      {"rewards not clipped", [](RlooCase& r) { r.advantages.reward_clip_range.reset(); }},
      {"not normalized", [](RlooCase& r) { r.advantages.normalize_advantages = false; }},
      {"epsilon_high", [](RlooCase& r) { r.loss.epsilon_high.reset(); }},
      {"one weight for all rewards", [](RlooCase& r) { r.rewards.reward_weights.clear(); }},
  };
  std::map<std::string, int> rejected;
  for (const json& c : cases) {
    EXPECT_EQ(mismatch(c, RlooCase(c)), "");
    for (const auto& [name, break_it] : twins) {
      RlooCase twin(c);
      break_it(twin);
      rejected[name] += !mismatch(c, twin).empty();
    }
  }
  for (const auto& [name, count] : rejected) EXPECT_GT(count, 0) << name;
}

// r = 1, 2, 6: the others' means are 4, 3.5, 1.5, and G/(G-1)·(r - mean) is the same. A row without a reward is
// nobody's.
TEST(Rloo, LeaveOneOutOnPaper) {
  const std::vector<double> rewards = {1, 2, 6, kAbstain};
  EXPECT_EQ(rloo_advantages(rewards, 4, {}), (std::vector<double>{-3, -1.5, 4.5, 0}));
  EXPECT_EQ(rloo_advantages(std::vector<double>{5, kAbstain}, 2, {}), (std::vector<double>{0, 0}));
  RlooOptions normalized;
  normalized.normalize_advantages = true;
  EXPECT_EQ(rloo_advantages(std::vector<double>(4, 0.7), 2, normalized), std::vector<double>(4, 0.0));
}

// Two rows of 2 and 1 tokens, R = (1, 3), old - reference = (0.5, 0.25 | 1), β 2: before whitening 1 - 2·0.75, 1 -
// 2·0.25 and 3 - 2·1, which are -0.5, 0.5, 1: mean 1/3, variance 7/12.
TEST(ReinforcePlusPlus, OnPaper) {
  const std::vector<int64_t> offsets = {0, 2, 3};
  const std::vector<double> rewards = {1, 3}, old = {0.5, 0.25, 1}, reference = {0, 0, 0};
  const auto a = reinforce_pp_advantages({offsets, {}}, rewards, old, reference, 2.0);
  const double scale = 1.0 / std::sqrt(7.0 / 12.0 + 1e-8);
  const std::vector<double> want = {(-0.5 - 1.0 / 3) * scale, (0.5 - 1.0 / 3) * scale, (1 - 1.0 / 3) * scale};
  for (size_t t = 0; t < 3; ++t) EXPECT_NEAR(a[t], want[t], 1e-14);  // a few roundings of numbers near 1
  // The twin whose sum begins at the row's first token is another one.
  EXPECT_GT(std::abs(a[1] - (1 - 1.5 - 1.0 / 3) * scale), 0.1);
}

// Groups of 2: R - mean = (-1, 1 | 0, 0), the second group's rows of 1 token, the first's of 2 and 1.
TEST(ReinforcePlusPlus, WithBaselineOnPaper) {
  const std::vector<int64_t> offsets = {0, 2, 3, 4, 5};
  const std::vector<double> rewards = {0, 2, 5, 5};
  const auto a = reinforce_pp_baseline_advantages({offsets, {}}, rewards, 2);
  // -1, -1, 1, 0, 0: mean -0.2, variance (0.64·2 + 1.44 + 0.04·2) / 4 = 0.7
  const double scale = 1.0 / std::sqrt(0.7 + 1e-8);
  const std::vector<double> want = {-0.8 * scale, -0.8 * scale, 1.2 * scale, 0.2 * scale, 0.2 * scale};
  for (size_t t = 0; t < 5; ++t) EXPECT_NEAR(a[t], want[t], 1e-14);
}

TEST(ReinforcePlusPlus, ARowThatNobodyScoredChangesNothing) {
  const std::vector<int64_t> offsets = {0, 1, 2, 3}, two = {0, 1, 2};
  const std::vector<double> rewards = {1, kAbstain, 2}, without = {1, 2}, none;
  const auto a = reinforce_pp_advantages({offsets, {}}, rewards, none, none, 0);
  const auto b = reinforce_pp_advantages({two, {}}, without, none, none, 0);
  EXPECT_EQ(a, (std::vector<double>{b[0], 0, b[1]}));
}

TEST(KlToGo, OnPaper) {
  const std::vector<int64_t> offsets = {0, 3, 4};
  const std::vector<uint8_t> mask = {1, 0, 1, 1};
  const std::vector<double> old = {0.5, 9, 0.25, -1}, reference = {0, 0, 0, 1};
  EXPECT_EQ(kl_to_go({offsets, mask}, old, reference), (std::vector<double>{0.75, 0, 0.25, -2}));
}

// R - greedy = 1 and -1, β 2, to go (0.75, 0.25 | -2). The twin that takes the whole row's KL from each token differs.
TEST(Remax, WithKlInTheReward) {
  const std::vector<int64_t> offsets = {0, 2, 3, 4};
  const std::vector<double> rewards = {2, 0, kAbstain}, greedy = {1, 1, 1};
  const std::vector<double> old = {0.5, 0.25, -2, 5}, reference = {0, 0, 0, 0};
  EXPECT_EQ(remax_advantages_with_kl({offsets, {}}, rewards, greedy, 1, old, reference, 2.0),
            (std::vector<double>{-0.5, 0.5, 3, 0}));
}

TEST(Remax, OnPaper) {
  const std::vector<double> rewards = {1, 2, 3, kAbstain}, greedy = {0.5, 3};
  EXPECT_EQ(remax_advantages(rewards, greedy, 2), (std::vector<double>{0.5, 1.5, 0, 0}));
}

}  // namespace
}  // namespace candor::algorithms::testing
