// What a recipe that samples and rewards is given by cli.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "algorithms/metrics.h"
#include "data/prompts.h"
#include "engine/adapter.h"
#include "recipes/training_run.h"
#include "rewards/rewards.h"
#include "text/tokenizer.h"

namespace candor::recipes {

// Functions may be empty.
struct RolloutParts {
  const engine::Context& context;
  const engine::Model& model;
  const text::Tokenizer& tokenizer;
  data::PromptSet prompts;
  std::vector<rewards::Reward> rewards;
  std::vector<rewards::Reward> gold = {};  // the held-out reward
  // Of the completions that the rewards scored last: how far the members of an ensemble are apart. Empty: no ensemble.
  std::function<std::vector<double>()> disagreement = {};
  std::string recipe_yaml;  // resolved, for the run folder
  // When an evaluation is due; nothing if it was interrupted.
  std::function<Result<std::optional<algorithms::Metrics>>(const engine::Adapter&, int64_t step)> evaluate;
  std::function<void(const StepReport&)> report;
  std::function<void(const std::string&)> doing;  // "sampling 40/64"
  std::function<bool()> interrupted;
  std::function<void(const std::string&)> say = {};  // a warning of the guard
  const data::PromptSet* held_out = nullptr;         // prompts that do not train; null: none
};

}  // namespace candor::recipes
