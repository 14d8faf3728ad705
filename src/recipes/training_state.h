// What a run must remember to go on with the same bytes, and its checkpoints.
//
// Random draws are functions of (seed, step, row, position) and batches of the cursor, so apart from the weights and
// the optimizer a few counters are the whole state.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "algorithms/unpaired.h"
#include "data/prompt_order.h"
#include "engine/optimizer.h"
#include "files/checkpoint.h"
#include "files/safetensors.h"
#include "files/safetensors_writer.h"

namespace candor::recipes {

struct TrainingState {
  int64_t step = 0;  // optimizer steps done
  data::PromptCursor cursor;
  int64_t num_tokens = 0;
  double seconds = 0;                   // spent on steps so far
  int64_t best_step = 0;                // of the best evaluation so far; 0: none
  double best_metric = 0;               // there
  algorithms::RunningMean reward_mean;  // of implicit rewards, where the recipe has one (BCO's delta)
  // What a checkpoint must agree with to be resumed exactly.
  std::string kernels;      // their level: its bits differ from another level's
  std::string dtype;        // of the model
  std::string rows_sha256;  // of all rows of the dataset
};

// Writes checkpoint-STEP: what is trained, optimizer.safetensors, trainer_state.json, recipe.yaml.
Result<void> save_checkpoint(const std::filesystem::path& run_directory, const TrainingState& state,
                             const std::string& recipe_yaml, std::vector<files::CheckpointFile> trained,
                             const engine::AdamwState& optimizer);

// The same for an adapter, in PEFT's layout, and what else the recipe keeps (`more`).
Result<void> save_checkpoint(const std::filesystem::path& run_directory, const TrainingState& state,
                             const std::string& recipe_yaml, const engine::Adapter& adapter,
                             const engine::AdamwState& optimizer, std::vector<files::CheckpointFile> more = {});

// Reads all but what is trained into an optimizer of the same shape, and into `state`, which comes as that of step 0.
// Errors: a file is damaged, was made on other rows or by another kernel level (unless `any_level`).
Result<void> load_training_state(const files::Checkpoint& checkpoint, bool any_level, engine::AdamwState& optimizer,
                                 TrainingState& state);

// Reads all of it back into an adapter and an optimizer of the same shape, and into `state`, which comes as that of
// step 0. Errors: those of load_training_state, or the file does not fit this adapter.
Result<void> load_checkpoint(const engine::Context& context, const engine::Model& model,
                             const files::Checkpoint& checkpoint, bool any_level, engine::Adapter& adapter,
                             engine::AdamwState& optimizer, TrainingState& state);

// A buffer as one flat tensor of a safetensors file, and back into a buffer of the same size.
files::TensorSource flat_tensor(const char* name, const engine::Buffer& buffer);
Result<void> read_flat_tensor(const files::SafetensorsFile& file, const char* name, engine::Buffer& to);

}  // namespace candor::recipes
