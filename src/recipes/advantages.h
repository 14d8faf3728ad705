// The advantages of a generation, by the recipe's advantage_estimator, from its rewards and log-probabilities.
#pragma once

#include <span>
#include <vector>

#include "algorithms/advantages.h"
#include "recipes/grpo_config.h"
#include "recipes/rollouts.h"

namespace candor::recipes {

struct AdvantageInputs {
  const Rollouts& rollouts;
  algorithms::RaggedRows rows;             // of the rollouts, with the mask of the loss
  std::span<const double> parts;           // [N,K] rewards, NaN where one abstained
  std::span<const double> reference;       // [tokens] log-probabilities; empty where the recipe needs none
  std::span<const double> greedy_rewards;  // [P] of each prompt's greedy completion; remax only
};

struct Advantages {
  algorithms::GroupAdvantages rows;  // [N]; an estimator of tokens gives their mean
  std::vector<double> tokens;        // [tokens]; empty where every token of a row has the row's
};

// Of the recipes on pairs: 1 for the chosen completion, -1 for the rejected one; Nash-MD: P - ½ for the policy's, ½ - P
// for the mixture's, P = σ(the difference of their rewards), the probability that the first wins. 0 for both where one
// was not scored.
// Error: a reward is infinite, or group_advantages' own.
Result<Advantages> estimate_advantages(const GrpoConfig& config, const AdvantageInputs& inputs);

}  // namespace candor::recipes
