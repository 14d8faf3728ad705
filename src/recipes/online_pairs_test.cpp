// Online DPO and XPO as the recipe computes them, against TRL's cases (golden/losses): which completion is chosen, the
// loss, its derivatives and the metrics; the advantages of the estimators by the recipe's keys; and twins.
#include "recipes/online_pairs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "algorithms/golden_numbers.h"
#include "recipes/advantages.h"

namespace candor::recipes {
namespace {

using algorithms::testing::Comparison;
using algorithms::testing::golden_cases;
using algorithms::testing::number;
using algorithms::testing::tensor;
using nlohmann::json;

// A case's rows, which stand as [first completions; second completions] of B prompts, as pairs.
struct PairCase {
  GrpoConfig config;
  Generation generation;
  std::vector<double> logprobs, d_expected;
  size_t width = 0;

  PairCase(GroupRecipe recipe, const json& c) : config(recipe) {
    config.reward_funcs = {"given"};
    if (c["config"].contains("loss_type")) config.loss_type = c["config"]["loss_type"];
    config.beta = c["config"]["beta"];
    generation.rollouts.offsets = {0};
    generation.rollouts.group_size = 2;
  }

  void add_row(std::span<const double> policy, std::span<const double> reference, std::span<const double> d,
               double reward, bool finished) {
    Rollouts& r = generation.rollouts;
    logprobs.insert(logprobs.end(), policy.begin(), policy.end());
    generation.reference.insert(generation.reference.end(), reference.begin(), reference.end());
    d_expected.insert(d_expected.end(), d.begin(), d.end());
    r.offsets.push_back(static_cast<int64_t>(logprobs.size()));
    r.finished.push_back(finished);
    generation.parts.push_back(reward);
    r.groups = static_cast<int64_t>(r.finished.size()) / 2;
  }

  void choose() {
    auto estimated = estimate_advantages(
        config, {generation.rollouts, generation.rows(), generation.parts, generation.reference, {}});
    ASSERT_TRUE(estimated);
    generation.advantages = std::move(estimated->rows);
  }
  algorithms::GrpoLoss loss() const {
    return online_pair_loss(config,
                            {generation.rows(), logprobs, generation.reference, generation.advantages.advantages,
                             generation.advantages.rewards, generation.rollouts.groups});
  }
};

PairCase online_dpo_case(const json& c) {
  PairCase out(GroupRecipe::kOnlineDpo, c);
  const json &in = c["inputs"], &penalty = c["config"]["missing_eos_penalty"];
  if (!penalty.is_null()) out.config.missing_eos_penalty = penalty.get<double>();
  const size_t rows = in["mask"]["shape"][0], width = in["mask"]["shape"][1];
  const auto policy = tensor(in, "logprobs"), reference = tensor(in, "reference_logprobs"), mask = tensor(in, "mask");
  const auto rewards = tensor(in, "rewards"), ended = tensor(in, "contains_eos");
  const auto d = tensor(c["outputs"]["gradients"], "logprobs");
  for (size_t i = 0; i < rows; ++i) {
    const size_t row = i % 2 * (rows / 2) + i / 2;
    size_t length = 0;
    while (length < width && mask[row * width + length] == 1) ++length;
    const auto of = [&](const std::vector<double>& all) { return std::span(all).subspan(row * width, length); };
    out.add_row(of(policy), of(reference), of(d), rewards[row], ended[row] == 1);
  }
  out.choose();
  return out;
}

PairCase xpo_case(const json& c) {
  PairCase out(GroupRecipe::kXpo, c);
  out.config.alpha = c["config"]["alpha"];
  const json& in = c["inputs"];
  const auto chosen = tensor(in, "policy_completion_is_chosen");
  const size_t width = in["logprobs_on_policy_completions"]["shape"][1];
  for (size_t pair = 0; pair < chosen.size(); ++pair)
    for (const std::string whose : {"policy", "reference"}) {
      const auto policy = tensor(in, "logprobs_on_" + whose + "_completions");
      const auto reference = tensor(in, "reference_logprobs_on_" + whose + "_completions");
      const auto d = tensor(c["outputs"]["gradients"], "logprobs_on_" + whose + "_completions");
      const auto of = [&](const std::vector<double>& all) { return std::span(all).subspan(pair * width, width); };
      const bool wins = (chosen[pair] == 1) == (whose == "policy");
      out.add_row(of(policy), of(reference), of(d), wins ? 1 : 0, true);
    }
  out.choose();
  return out;
}

// The mixture's completions are in no case: one token of -1 each, which must have no part in anything but the reward.
PairCase nash_case(const json& c) {
  PairCase out(GroupRecipe::kNashMd, c);
  const json& in = c["inputs"];
  const auto policy = tensor(in, "logprobs"), reference = tensor(in, "reference_logprobs");
  const auto probability = tensor(in, "probability"), d = tensor(c["outputs"]["gradients"], "logprobs");
  const size_t width = in["logprobs"]["shape"][1];
  const std::vector<double> one = {-1}, none = {0};
  for (size_t pair = 0; pair < probability.size(); ++pair) {
    const auto of = [&](const std::vector<double>& all) { return std::span(all).subspan(pair * width, width); };
    const double p = probability[pair];
    out.add_row(of(policy), of(reference), of(d), std::log(p / (1 - p)), true);
    out.add_row(one, one, none, 0, true);
  }
  out.choose();
  return out;
}

std::string mismatch(const json& c, const PairCase& pairs) {
  Comparison compare{c};
  const algorithms::GrpoLoss loss = pairs.loss();
  compare.number_is("loss", loss.loss(), number(c["outputs"]["loss"]));
  compare.list_is("d_logprobs", loss.d_logprobs, pairs.d_expected);
  algorithms::Metrics metrics = online_pair_metrics(pairs.config, pairs.generation, pairs.logprobs);
  const json& expected = c["outputs"]["metrics"];
  std::erase_if(metrics, [&](const algorithms::Metric& metric) { return !expected.contains(metric.name); });
  compare.metrics_are(metrics, expected, {});
  return compare.wrong;
}

TEST(OnlinePairs, EveryGoldenCaseAndItsTwins) {
  CANDOR_REQUIRE_FILE(candor::testing::golden("losses/online_dpo.json"));
  const std::vector<std::pair<std::string, std::function<void(PairCase&)>>> twins{
      {"no penalty", [](PairCase& p) { p.config.missing_eos_penalty.reset(), p.choose(); }},
      {"the other one chosen",
       [](PairCase& p) {
         for (double& sign : p.generation.advantages.advantages) sign = -sign;
       }},
      {"half of beta", [](PairCase& p) { p.config.beta *= 0.5; }},
      {"who wins turned round",
       [](PairCase& p) {
         for (double& reward : p.generation.parts) reward = -reward;
         p.choose();
       }},
      {"the other loss", [](PairCase& p) { p.config.loss_type = p.config.loss_type == "ipo" ? "sigmoid" : "ipo"; }},
      {"no optimism", [](PairCase& p) { p.config.alpha = 0; }},
  };
  std::map<std::string, int> rejected;
  int count = 0;
  const auto check = [&](const json& c, const PairCase& pairs) {
    ++count;
    EXPECT_EQ(mismatch(c, pairs), "");
    for (const auto& [name, break_it] : twins) {
      PairCase twin = pairs;
      break_it(twin);
      rejected[name] += !mismatch(c, twin).empty();
    }
  };
  for (const json& c : golden_cases("online_dpo.json")) check(c, online_dpo_case(c));
  for (const json& c : golden_cases("xpo_nash_md.json"))
    check(c, c["name"].get<std::string>().starts_with("xpo") ? xpo_case(c) : nash_case(c));
  EXPECT_EQ(count, 8);
  for (const auto& [name, times] : rejected) EXPECT_GT(times, 0) << name;
}

// Pairs may be split into calls at will, and one that nobody scored trains nothing.
TEST(OnlinePairs, SplitsChangeNoBitAndUnscoredPairsTrainNothing) {
  CANDOR_REQUIRE_FILE(candor::testing::golden("losses/online_dpo.json"));
  PairCase p = online_dpo_case(golden_cases("online_dpo.json")[0]);
  p.generation.parts[3] = algorithms::kAbstain;
  p.choose();
  const auto& signs = p.generation.advantages.advantages;
  EXPECT_EQ(signs[2], 0);
  EXPECT_EQ(signs[3], 0);
  const algorithms::GrpoLoss whole = p.loss();
  EXPECT_EQ(whole.rows[2].loss, 0);
  const algorithms::RaggedRows rows = p.generation.rows();
  for (size_t pair = 0; pair < 4; ++pair) {
    const auto cut = [&](const std::vector<double>& all) {
      return rows.tokens_of(std::span<const double>(all), 2 * pair, 2);
    };
    const auto part =
        online_pair_loss(p.config, {rows.slice(2 * pair, 2), cut(p.logprobs), cut(p.generation.reference),
                                    std::span(signs).subspan(2 * pair, 2),
                                    std::span<const double>(p.generation.advantages.rewards).subspan(2 * pair, 2), 4});
    EXPECT_EQ(part.rows[0].loss, whole.rows[2 * pair].loss);
    const auto expected = cut(whole.d_logprobs);
    EXPECT_EQ(part.d_logprobs, std::vector<double>(expected.begin(), expected.end()));
    if (pair == 1) {
      EXPECT_EQ(part.d_logprobs, std::vector<double>(part.d_logprobs.size(), 0.0));
    }
  }
  // Nobody scored anything.
  std::fill(p.generation.parts.begin(), p.generation.parts.end(), algorithms::kAbstain);
  p.choose();
  EXPECT_EQ(p.loss().loss(), 0);
  EXPECT_EQ(p.loss().d_logprobs, std::vector<double>(p.logprobs.size(), 0.0));
}

// One generation of 2 prompts × 2 completions of 2, 1, 1, 2 tokens; old - reference is 0.5 at each token, rewards 1, 0,
// 3, 3, greedy ones 0 and 2.
struct EstimatorsOnPaper : public ::testing::Test {
  GrpoConfig config;
  Rollouts rollouts;
  std::vector<double> parts = {1, 0, 3, 3}, reference = std::vector<double>(6, -1.5), greedy = {0, 2};

  EstimatorsOnPaper() {
    config.reward_funcs = {"given"};
    config.num_generations = 2;
    config.kl_placement = "reward";
    config.beta = 0.1;
    rollouts.groups = rollouts.group_size = 2;
    rollouts.offsets = {0, 2, 3, 4, 6};
    rollouts.logprobs.assign(6, -1.0);
    rollouts.finished.assign(4, 1);
  }
  Advantages of(const std::string& name) {
    config.advantage_estimator = name;
    const auto got = estimate_advantages(config, {rollouts, {rollouts.offsets, {}}, parts, reference, greedy});
    EXPECT_TRUE(got);
    return got ? *got : Advantages();
  }
};

void expect_near(const std::vector<double>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], want[i], 1e-14) << i;  // a few roundings of numbers near 1
}

TEST_F(EstimatorsOnPaper, Rloo) {
  // r = R - 0.1·(1, 0.5, 0.5, 1) = 0.9, -0.05, 2.95, 2.9
  const Advantages plain = of("rloo");
  expect_near(plain.rows.advantages, {0.95, -0.95, 0.05, -0.05});
  EXPECT_TRUE(plain.tokens.empty());
  EXPECT_EQ(plain.rows.reward, 1.75);  // without the KL
  config.reward_clip_range = {0, 2};
  expect_near(of("rloo").rows.advantages, {0.95, -0.95, 0.05, -0.05});
  config.reward_clip_range = {0.5, 2};
  expect_near(of("rloo").rows.advantages, {0.45, -0.45, 0.05, -0.05});
}

TEST_F(EstimatorsOnPaper, ReinforcePlusPlus) {
  // R - 0.1·(what is still to come): 0.9, 0.95 | -0.05 | 2.95 | 2.9, 2.95, then whitened.
  const std::vector<double> raw = {0.9, 0.95, -0.05, 2.95, 2.9, 2.95};
  double mean = 0, squares = 0;
  for (double x : raw) mean += x / 6;
  for (double x : raw) squares += (x - mean) * (x - mean);
  std::vector<double> white;
  for (double x : raw) white.push_back((x - mean) / std::sqrt(squares / 5 + 1e-8));
  const Advantages got = of("reinforce_plus_plus");
  expect_near(got.tokens, white);
  expect_near(got.rows.advantages, {(white[0] + white[1]) / 2, white[2], white[3], (white[4] + white[5]) / 2});
}

TEST_F(EstimatorsOnPaper, ReinforcePlusPlusBaseline) {
  config.kl_placement = "loss";
  const double scale = std::sqrt((0.25 * 3) / 5 - 1.0 / 120 + 1e-8);  // 0.5, 0.5, -0.5, 0, 0, 0: mean 1/12
  const Advantages got = of("reinforce_plus_plus_baseline");
  expect_near(got.tokens, {(0.5 - 1.0 / 12) / scale, (0.5 - 1.0 / 12) / scale, (-0.5 - 1.0 / 12) / scale,
                           -1.0 / 12 / scale, -1.0 / 12 / scale, -1.0 / 12 / scale});
}

TEST_F(EstimatorsOnPaper, Remax) {
  expect_near(of("remax").tokens, {1 - 0.1, 1 - 0.05, -0.05, 1 - 0.05, 1 - 0.1, 1 - 0.05});
  config.kl_placement = "loss";
  expect_near(of("remax").rows.advantages, {1, 0, 1, 1});
  EXPECT_TRUE(of("remax").tokens.empty());
}

TEST_F(EstimatorsOnPaper, WhatIsMaskedIsNotWhitened) {
  config.advantage_estimator = "reinforce_plus_plus";
  const std::vector<uint8_t> mask = {1, 1, 0, 1, 1, 1};
  const auto got = estimate_advantages(config, {rollouts, {rollouts.offsets, mask}, parts, reference, greedy});
  EXPECT_EQ(got->tokens[2], 0);
  EXPECT_EQ(got->rows.advantages[1], 0);
  EXPECT_NE(got->tokens[0], of("reinforce_plus_plus").tokens[0]);
}

}  // namespace
}  // namespace candor::recipes
