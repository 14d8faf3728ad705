// Learning from single completions that are wanted or not: KTO, APO's zero_unpaired and BCO (algorithms/unpaired.h), of
// a LoRA adapter on a frozen base.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "engine/policy_pass.h"
#include "recipes/kto_config.h"
#include "recipes/supervised.h"

namespace candor::recipes {

// What the recipe is given by cli, where the parts meet. Functions may be empty.
struct KtoParts {
  const engine::Context& context;
  const engine::Model& model;  // that the start was made with
  const data::LabelledSet& rows;
  const data::LabelledSet* held_out = nullptr;
  const engine::Adapter* reference = nullptr;  // null: the model alone
  std::string recipe_yaml;                     // resolved, for the run folder
  std::function<void(const StepReport&)> report;
  std::function<void(const std::string&)> say;    // an evaluation, in words
  std::function<void(const std::string&)> doing;  // "evaluating 40/64"
  std::function<bool()> interrupted;
};

// As start_supervised.
Result<SupervisedStart> start_kto(const KtoConfig& config, const engine::Context& context, engine::Model& model,
                                  const files::ModelFiles& files, const data::LabelledSet& rows);

// As run_supervised.
Result<SupervisedResult> run_kto(const KtoConfig& config, const KtoParts& parts, SupervisedStart start);

}  // namespace candor::recipes
