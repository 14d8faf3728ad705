// Supervised fine-tuning: of a LoRA adapter on a frozen base, or of every weight of the model.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "data/sft.h"
#include "recipes/sft_config.h"
#include "recipes/supervised.h"

namespace candor::recipes {

// What the recipe is given by cli, where the parts meet. Functions may be empty.
struct SftParts {
  const engine::Context& context;
  const engine::Model& model;  // that SftStart was made with
  const data::SftSet& rows;
  const data::SftSet* held_out = nullptr;
  std::string recipe_yaml;  // resolved, for the run folder
  std::function<void(const StepReport&)> report;
  std::function<void(const std::string&)> say;    // an evaluation, in words
  std::function<void(const std::string&)> doing;  // "evaluating 40/64"
  std::function<bool()> interrupted;
};

using SftStart = SupervisedStart;
using SftResult = SupervisedResult;

// As start_supervised.
Result<SftStart> start_sft(const SftConfig& config, const engine::Context& context, engine::Model& model,
                           const files::ModelFiles& files, const data::SftSet& rows);

// As run_supervised.
Result<SftResult> run_sft(const SftConfig& config, const SftParts& parts, SftStart start);

// Optimizer steps of the whole run over `rows` rows: no step crosses the end of an epoch.
int64_t sft_steps(const SftConfig& config, int64_t rows);

}  // namespace candor::recipes
