// GRPO (Shao et al., arXiv 2402.03300) and its family, with a LoRA adapter on a frozen base.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "algorithms/metrics.h"
#include "data/prompts.h"
#include "engine/adapter.h"
#include "recipes/grpo_config.h"
#include "recipes/training_run.h"
#include "recipes/training_state.h"
#include "rewards/rewards.h"
#include "text/tokenizer.h"

namespace candor::recipes {

// What a recipe is given by cli, where the parts meet. Functions may be empty.
struct GrpoParts {
  const engine::Context& context;
  const engine::Model& model;
  const text::Tokenizer& tokenizer;
  data::PromptSet prompts;
  std::vector<rewards::Reward> rewards;
  std::string recipe_yaml;  // resolved, for the run folder
  std::function<Result<algorithms::Metrics>(const engine::Adapter&, int64_t step)> evaluate;  // when eval is due
  std::function<void(const StepReport&)> report;
  std::function<void(const std::string&)> doing;  // "sampling 40/64"
  std::function<bool()> interrupted;
};

// Where a run begins: at step 0 with a new adapter or that of adapter_name_or_path, or at the newest complete
// checkpoint.
struct GrpoStart {
  engine::Adapter adapter;
  engine::AdamwState optimizer;
  TrainingState state;
  data::PromptStream prompts;
};

// Reads and checks all that and writes nothing, so that a run which cannot begin leaves no folder behind. Errors: an
// adapter that does not fit the model, a checkpoint that is damaged, of another kernel level or of other prompts.
Result<GrpoStart> start_grpo(const GrpoConfig& config, const engine::Context& context, const engine::Model& model,
                             const data::PromptSet& prompts);

struct GrpoResult {
  engine::Adapter adapter;
  int64_t steps = 0;  // done
  int64_t num_tokens = 0;
  double median_step_s = 0;  // of the steps of this process
  double seconds = 0;        // on steps, over all processes of the run
  bool interrupted = false;  // a checkpoint was saved; resume goes on from it
};

// Trains until max_steps, writing metrics.jsonl, completions.jsonl, checkpoints and final/ into config.output_dir,
// which prepare_run_directory (run_directory.h) has made ready. Errors: a reward failed, a number is not finite, the
// sampler's and the trainer's log-probabilities differ, the disk is full. After an error the last checkpoint stands.
Result<GrpoResult> run_grpo(const GrpoConfig& config, GrpoParts parts, GrpoStart start);

// The rewards that the recipe names.
Result<std::vector<rewards::Reward>> make_rewards(const GrpoConfig& config);

}  // namespace candor::recipes
