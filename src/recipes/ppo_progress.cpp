#include "recipes/ppo_progress.h"

namespace candor::recipes {

namespace {

constexpr const char* kFile = "ppo_state.json";

}  // namespace

PpoProgress first_progress(const PpoConfig& config) {
  PpoProgress progress{{Watch{guard::Guard(config.guard)}}};
  progress.kl_coef = config.kl_coef;
  return progress;
}

files::CheckpointFile progress_file(const PpoProgress& progress) {
  return rollout_progress_file(kFile, progress, {{"kl_coef", progress.kl_coef}, {"generations", progress.generations}});
}

Result<PpoProgress> read_ppo_progress(const std::filesystem::path& checkpoint, const PpoConfig& config,
                                      const data::PromptSet& prompts) {
  PpoProgress progress = first_progress(config);
  const auto read_own = [&](const files::Json& json) {
    progress.kl_coef = json.at("kl_coef").get<double>();
    progress.generations = json.at("generations").get<int64_t>();
  };
  const auto generation_of = [&](const files::Json& json) { return ppo_generation_from_json(json, prompts, config); };
  TRY(read_rollout_progress_file(checkpoint / kFile, config, read_own, generation_of, progress));
  return progress;
}

}  // namespace candor::recipes
