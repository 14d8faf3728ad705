// GRPO (Shao et al., arXiv 2402.03300) and its family, with a LoRA adapter on a frozen base.
#pragma once

#include <cstdint>

#include "recipes/grpo_config.h"
#include "recipes/grpo_progress.h"
#include "recipes/rollout_parts.h"
#include "recipes/training_state.h"

namespace candor::recipes {

using GrpoParts = RolloutParts;

struct GrpoStart : RolloutStart {
  GrpoProgress progress;
};

// Reads and checks all that and writes nothing, so that a run which cannot begin leaves no folder behind. Errors: an
// adapter that does not fit the model, a checkpoint that is damaged, of another kernel level or of other prompts.
Result<GrpoStart> start_grpo(const GrpoConfig& config, const engine::Context& context, const engine::Model& model,
                             const data::PromptSet& prompts);

// Optimizer steps of the whole run over `prompts` prompts.
int64_t grpo_steps(const GrpoConfig& config, int64_t prompts);

// Trains until max_steps, writing metrics.jsonl, completions.jsonl, checkpoints and final/ into config.output_dir,
// which prepare_run_directory (run_directory.h) has made ready; or until the guard stops it (watch.h). Errors: a reward
// failed, a number is not finite, the sampler's and the trainer's log-probabilities differ, the disk is full. After an
// error the last checkpoint stands; where a reward failed, one of the steps before it is written.
Result<RolloutResult> run_grpo(const GrpoConfig& config, GrpoParts parts, GrpoStart start);

}  // namespace candor::recipes
