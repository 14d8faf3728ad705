// Preference optimisation without a reference: CPO, SimPO, AlphaPO, and ORPO (algorithms/cpo.h); of a LoRA adapter on a
// frozen base, or of every weight of the model.
#pragma once

#include "recipes/cpo_config.h"
#include "recipes/pair_step.h"

namespace candor::recipes {

PairLoss pair_loss(const CpoConfig& config);
PairLoss pair_loss(const OrpoConfig& config);

// As start_supervised, of either.
Result<SupervisedStart> start_cpo(const PreferenceConfig& config, const engine::Context& context, engine::Model& model,
                                  const files::ModelFiles& files, const data::PairSet& rows);

// As run_supervised.
Result<SupervisedResult> run_cpo(const CpoConfig& config, const PairParts& parts, SupervisedStart start);
Result<SupervisedResult> run_orpo(const OrpoConfig& config, const PairParts& parts, SupervisedStart start);

}  // namespace candor::recipes
