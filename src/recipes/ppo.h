// PPO (Schulman et al., arXiv 1707.06347) with a KL to the initial model in the reward (1909.08593): four roles on one
// frozen base. The policy is a LoRA adapter, the reference the base itself, the reward rules, programs or adapters with
// a score head (reward_models.h), the critic an adapter with a score head of its own.
#pragma once

#include <cstdint>
#include <memory>

#include "recipes/ppo_config.h"
#include "recipes/ppo_progress.h"
#include "recipes/rollout_parts.h"
#include "recipes/training_state.h"

namespace candor::recipes {

struct PpoStart : RolloutStart {
  std::unique_ptr<engine::Role> critic;  // a new one, the one that the recipe names, or the checkpoint's
  engine::AdamwState critic_optimizer;
  PpoProgress progress;
};

// Reads and checks all that and writes nothing, so that a run which cannot begin leaves no folder behind. `files` is
// what `model` was read from. Errors: an adapter that does not fit the model, a critic that cannot be one, a checkpoint
// that is damaged, of another kernel level or of other prompts.
Result<PpoStart> start_ppo(const PpoConfig& config, const engine::Context& context, const engine::Model& model,
                           const files::ModelFiles& files, const data::PromptSet& prompts);

// Optimizer steps of the whole run over `prompts` prompts.
int64_t ppo_steps(const PpoConfig& config, int64_t prompts);

// Trains until max_steps, writing metrics.jsonl, completions.jsonl, checkpoints, final/ (the policy) and critic/ into
// config.output_dir, which prepare_run_directory (run_directory.h) has made ready; or until the guard stops it, which
// writes no critic/ (watch.h). Errors: a reward failed, a number is
// not finite, the sampler's and the trainer's log-probabilities (or the critic's values) differ, the disk is full.
// After an error the last checkpoint stands; where a reward failed, one of the steps before it is written.
Result<RolloutResult> run_ppo(const PpoConfig& config, RolloutParts parts, PpoStart start);

}  // namespace candor::recipes
