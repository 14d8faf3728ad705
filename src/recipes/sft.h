// Supervised fine-tuning: of a LoRA adapter on a frozen base, or of every weight of the model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "algorithms/metrics.h"
#include "data/prompt_order.h"
#include "data/sft.h"
#include "recipes/sft_config.h"
#include "recipes/trained.h"
#include "recipes/training_run.h"
#include "recipes/training_state.h"

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

// Where a run begins: at step 0, or at the newest complete checkpoint.
struct SftStart {
  Trained trained;
  engine::AdamwState optimizer;
  TrainingState state;
  data::PromptStream rows;
};

// Reads and checks all that and writes nothing, so that a run which cannot begin leaves no folder behind. Errors: an
// adapter that does not fit the model, a checkpoint that is damaged, of another kernel level or of other rows.
// `files` is what `model` was read from; both must outlive the answer.
Result<SftStart> start_sft(const SftConfig& config, const engine::Context& context, engine::Model& model,
                           const files::ModelFiles& files, const data::SftSet& rows);

struct SftResult {
  Trained trained;        // what final/ holds
  int64_t steps = 0;      // done
  int64_t best_step = 0;  // whose weights these are
  int64_t num_tokens = 0;
  double median_step_s = 0;  // of the steps of this process
  double seconds = 0;        // on steps, over all processes of the run
  bool interrupted = false;  // a checkpoint was saved; resume goes on from it
};

// Trains to the last step, writing metrics.jsonl, checkpoints and final/ into config.output_dir, which
// prepare_run_directory (run_directory.h) has made ready. Errors: a number is not finite, the disk is full. After an
// error the last checkpoint stands.
Result<SftResult> run_sft(const SftConfig& config, const SftParts& parts, SftStart start);

// Optimizer steps of the whole run over `rows` rows: no step crosses the end of an epoch.
int64_t sft_steps(const SftConfig& config, int64_t rows);

}  // namespace candor::recipes
