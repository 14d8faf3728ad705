#include "recipes/rollout_progress.h"

#include "engine/model.h"
#include "recipes/metrics_log.h"

namespace candor::recipes {

files::Json rollout_progress_json(const RolloutProgress& progress) {
  return {{"watch", watch_json(progress.watch)}, {"unfinished_row", metrics_row(progress.unfinished_row)}};
}

Result<void> read_rollout_progress(const files::Json& json, const RolloutConfig& config, RolloutProgress& progress) {
  progress.watch = TRY(watch_from_json(json.at("watch"), config.guard));
  for (const auto& [name, value] : json.at("unfinished_row").items())
    progress.unfinished_row.push_back({name, number_of(value)});
  return {};
}

TrainingState first_state(const engine::Context& context, const engine::Model& model, const data::PromptSet& prompts) {
  TrainingState state;
  state.kernels = context.kernels.name;
  state.dtype = engine::dtype_name(model.dtype);
  state.rows_sha256 = digest_of(prompts);
  return state;
}

Result<data::PromptStream> open_prompts(const RolloutConfig& config, const data::PromptSet& prompts,
                                        const TrainingState& state) {
  return data::open_prompt_stream(static_cast<int64_t>(prompts.prompts.size()), static_cast<uint64_t>(config.seed),
                                  config.shuffle_dataset, state.cursor);
}

}  // namespace candor::recipes
