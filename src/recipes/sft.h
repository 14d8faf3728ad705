// Supervised fine-tuning: of a LoRA adapter on a frozen base, or of every weight of the model.
#pragma once

#include <cstdint>

#include "data/sft.h"
#include "recipes/sft_config.h"
#include "recipes/supervised.h"

namespace candor::recipes {

struct SftParts {
  SupervisedParts run;
  const data::SftSet& rows;
  const data::SftSet* held_out = nullptr;
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
