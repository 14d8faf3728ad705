// What a PPO run must remember beside its weights, optimizers and counters.
#pragma once

#include <filesystem>
#include <optional>

#include "algorithms/metrics.h"
#include "files/checkpoint.h"
#include "recipes/ppo_generation.h"

namespace candor::recipes {

struct PpoProgress {
  double kl_coef = 0;                       // of the next generation
  int64_t generations = 0;                  // sampled so far
  std::optional<PpoGeneration> generation;  // that serves further steps
  // The last step's numbers, where the evaluation that belongs beside them was interrupted; else empty.
  algorithms::Metrics unfinished_row;
};

files::CheckpointFile progress_file(const PpoProgress& progress);

// From a checkpoint that was verified; its generation still lacks what derive() adds. Error: it does not fit this
// recipe.
Result<PpoProgress> read_ppo_progress(const std::filesystem::path& checkpoint, const PpoConfig& config,
                                      const data::PromptSet& prompts);

}  // namespace candor::recipes
