// Where every run that samples and rewards begins, what it remembers beside its weights, optimizers and counters (the
// guard, a row whose evaluation was interrupted, the generation that serves further steps), and what it gives.
#pragma once

#include <filesystem>
#include <utility>

#include "algorithms/metrics.h"
#include "data/prompt_order.h"
#include "engine/adapter.h"
#include "files/checkpoint.h"
#include "files/json_file.h"
#include "recipes/training_state.h"
#include "recipes/watch.h"

namespace candor::recipes {

struct RolloutProgress {
  Watch watch;
  // The last step's numbers, where the evaluation that belongs beside them was interrupted; else empty.
  algorithms::Metrics unfinished_row = {};
};

// For the checkpoint; the recipe adds its own. Error: the text is not what rollout_progress_json wrote.
files::Json rollout_progress_json(const RolloutProgress& progress);
Result<void> read_rollout_progress(const files::Json& json, const RolloutConfig& config, RolloutProgress& progress);

inline constexpr uint64_t kMostProgressBytes = uint64_t{1} << 34;  // rollouts of a long context

// A checkpoint's file of a progress with a generation. `own`: the recipe's own members.
template <typename Progress>
files::CheckpointFile rollout_progress_file(const char* name, const Progress& progress, const files::Json& own) {
  files::Json json = rollout_progress_json(progress);
  json.update(own);
  json["generation"] = nullptr;
  if (progress.generation) json["generation"] = generation_json(*progress.generation);
  return {name, [text = json.dump() + "\n"](OutputFile& out) { return out.write(text); }};
}

// That file back. read_own takes the recipe's own members; generation_of reads the generation. Error: not what
// rollout_progress_file wrote for this recipe; names the file.
template <typename Progress, typename ReadOwn, typename GenerationOf>
Result<void> read_rollout_progress_file(const std::filesystem::path& path, const RolloutConfig& config,
                                        const ReadOwn& read_own, const GenerationOf& generation_of,
                                        Progress& progress) {
  const files::Json json = TRY(files::read_json_file(path, kMostProgressBytes));
  try {
    read_own(json);
    TRY(read_rollout_progress(json, config, progress));
    if (json.at("generation").is_null()) return {};
    auto generation = generation_of(json["generation"]);
    if (!generation) return error("[resume] {}: {}", path.string(), generation.error().message);
    progress.generation = std::move(*generation);
    return {};
  } catch (const files::Json::exception& e) {
    return error("[resume] {}: {}. The checkpoint was not written by this version of the program.", path.string(),
                 e.what());
  }
}

// Where a run begins: at step 0 with a new adapter or that of adapter_name_or_path, or at the newest complete
// checkpoint.
struct RolloutStart {
  engine::Adapter adapter;
  engine::AdamwState optimizer;
  TrainingState state;
  data::PromptStream prompts;
};
// Of a run at step 0.
TrainingState first_state(const engine::Context& context, const engine::Model& model, const data::PromptSet& prompts);
Result<data::PromptStream> open_prompts(const RolloutConfig& config, const data::PromptSet& prompts,
                                        const TrainingState& state);

struct RolloutResult {
  engine::Adapter adapter;  // the policy's
  int64_t steps = 0;        // done
  int64_t num_tokens = 0;
  double median_step_s = 0;  // of the steps of this process
  double seconds = 0;        // on steps, over all processes of the run
  bool interrupted = false;  // a checkpoint was saved; resume goes on from it
  GuardReport guard;
};

}  // namespace candor::recipes
