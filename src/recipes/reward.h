// Reward models: an adapter and a score head on a frozen base, trained on pairs by Bradley-Terry
// (algorithms/reward_model.h). The score is the head's value behind a completion's last token.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "recipes/preference_pass.h"
#include "recipes/reward_config.h"
#include "recipes/supervised.h"

namespace candor::recipes {

// What the recipe is given by cli, where the parts meet. Functions may be empty.
struct RewardParts {
  const engine::Context& context;
  const engine::Model& model;  // that the start was made with
  const data::PairSet& rows;
  const data::PairSet* held_out = nullptr;
  std::string recipe_yaml;  // resolved, for the run folder
  std::function<void(const StepReport&)> report;
  std::function<void(const std::string&)> say;    // an evaluation, in words
  std::function<void(const std::string&)> doing;  // "evaluating 40/64"
  std::function<bool()> interrupted;
};

// As start_supervised. The adapter's file holds the head as one of modules_to_save, as PEFT saves a classifier.
Result<SupervisedStart> start_reward(const RewardConfig& config, const engine::Context& context, engine::Model& model,
                                     const files::ModelFiles& files, const data::PairSet& rows);

// As run_supervised.
Result<SupervisedResult> run_reward(const RewardConfig& config, const RewardParts& parts, SupervisedStart start);

// Scores of held-out pairs.
struct RewardEvaluation {
  std::vector<double> chosen, rejected, margins;  // [pairs]
  double centring = 0;                            // center_rewards_coefficient
  double loss() const;
  algorithms::Metrics metrics() const;  // eval_loss, eval_accuracy, eval_margin, eval_min_reward, …
};

// adapter: null = the model alone. `ready` is told how many pairs are done; where it returns false the answer is empty.
std::optional<RewardEvaluation> evaluate_reward(const RewardConfig& config, const engine::Context& context,
                                                const engine::Model& model, const engine::Adapter* adapter,
                                                const engine::ScalarHead& head, const data::PairSet& set,
                                                const std::function<bool(size_t done, size_t all)>& ready);

}  // namespace candor::recipes
