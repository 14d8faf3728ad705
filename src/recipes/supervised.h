// The loop of the recipes that train on given rows (SFT, preferences, reward models): order of rows, optimizer,
// evaluations, checkpoints, metrics.jsonl and final/. What a step computes is the recipe's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "algorithms/metrics.h"
#include "data/prompt_order.h"
#include "engine/gradient_shards.h"
#include "engine/policy_pass.h"
#include "recipes/trained.h"
#include "recipes/training_run.h"
#include "recipes/training_state.h"
#include "recipes/watch.h"

namespace candor::recipes {

// What every such recipe is given by cli, where the parts meet; its own parts are this and its rows. Functions may be
// empty.
struct SupervisedParts {
  const engine::Context& context;
  const engine::Model& model;    // that SupervisedStart was made with
  std::string recipe_yaml = {};  // resolved, for the run folder
  std::function<void(const StepReport&)> report = {};
  std::function<void(const std::string&)> say = {};    // an evaluation, in words
  std::function<void(const std::string&)> doing = {};  // "evaluating 40/64"
  std::function<bool()> interrupted = {};

  // For an evaluation that is whole always, so that a resume has the same rows.
  std::function<bool(size_t done, size_t all)> count_evaluated() const {
    return [this](size_t done, size_t all) {
      if (doing) doing(fmt::format("evaluating {}/{}", done, all));
      return true;
    };
  }
};

// Where a run begins: at step 0, or at the newest complete checkpoint.
struct SupervisedStart {
  Trained trained;
  engine::AdamwState optimizer;
  TrainingState state;
  data::PromptStream rows;
  Watch watch;
};

// rows: how many there are; rows_sha256: what they are, so that a resume on others is refused. Reads and checks all
// and writes nothing, so that a run which cannot begin leaves no folder behind. Errors: an adapter that does not fit
// the model, a checkpoint that is damaged, of another kernel level or of other rows. `files` is what `model` was read
// from; both must outlive the answer.
Result<SupervisedStart> start_supervised(const TrainingConfig& config, const engine::Context& context,
                                         engine::Model& model, const files::ModelFiles& files, int64_t rows,
                                         const std::string& rows_sha256, WithHead with_head = WithHead::kNo);

// What one step computed, for its row in metrics.jsonl.
struct SupervisedStep {
  double loss = 0;
  int64_t tokens = 0;  // that pass through the model, as TRL counts them
  algorithms::Metrics metrics;
  std::optional<guard::PreferenceNumbers> preferences = {};  // what the guard sees of it:
  std::optional<SeenSamples> samples = {};                   // of pairs, or of completions
};

// A step at work: what its rows are trained with.
struct StepContext {
  Trained& trained;
  const engine::Trainable& trainable;  // of `trained`
  engine::PolicyPass& pass;
  engine::GradientShards& shards;
  TrainingState& state;  // of before the step
};

// A recipe, as the loop sees it.
struct SupervisedTask {
  std::string_view recipe;  // "sft": opens messages
  int64_t rows_per_step = 1;
  // Forward, loss and backward of these rows (numbers from 0); leaves the summed gradient in `shards`.
  std::function<Result<SupervisedStep>(std::span<const int64_t> rows, const StepContext& step)> accumulate;
  // The held-out rows. Empty: there are none. `say` gets what a person wants to read of them.
  std::function<Result<algorithms::Metrics>(Trained& trained, const std::function<void(const std::string&)>& say)>
      evaluate;
  // What of the trained weights final/ holds, where that is not all of them.
  std::function<void(Trained& trained)> finish = {};
};

struct SupervisedResult {
  Trained trained;        // what final/ holds
  int64_t steps = 0;      // done
  int64_t best_step = 0;  // whose weights these are
  int64_t num_tokens = 0;
  double median_step_s = 0;  // of the steps of this process
  double seconds = 0;        // on steps, over all processes of the run
  bool interrupted = false;  // a checkpoint was saved; resume goes on from it
  GuardReport guard = {};
};

// Optimizer steps of the whole run over `rows` rows: no step crosses the end of an epoch.
int64_t supervised_steps(const TrainingConfig& config, int64_t rows, int64_t rows_per_step);

// The rows of the next step, up to the end of the epoch: their numbers.
std::vector<int64_t> next_rows(data::PromptStream& rows, int64_t rows_per_step);

// Trains to the last step, writing metrics.jsonl, checkpoints and final/ into config.output_dir, which
// prepare_run_directory (run_directory.h) has made ready; or until the guard stops it (watch.h). Errors: a number is
// not finite, the disk is full, the recipe's own. After an error the last checkpoint stands.
Result<SupervisedResult> run_supervised(const TrainingConfig& config, const SupervisedParts& parts,
                                        const SupervisedTask& task, SupervisedStart start);

}  // namespace candor::recipes
