// Direct preference optimisation and its family (algorithms/dpo.h): of a LoRA adapter on a frozen base, or of every
// weight of the model.
#pragma once

#include "recipes/dpo_config.h"
#include "recipes/pair_step.h"

namespace candor::recipes {

PairLoss pair_loss(const DpoConfig& config);

// As start_supervised. What the reference is must be taken before: a resume puts the checkpoint's weights into `model`
// where every weight trains.
Result<SupervisedStart> start_dpo(const DpoConfig& config, const engine::Context& context, engine::Model& model,
                                  const files::ModelFiles& files, const data::PairSet& rows);

// As run_supervised.
Result<SupervisedResult> run_dpo(const DpoConfig& config, const PairParts& parts, SupervisedStart start);

}  // namespace candor::recipes
