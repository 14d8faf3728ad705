#include "recipes/grpo_progress.h"

#include <limits>

namespace candor::recipes {

namespace {

constexpr const char* kFile = "grpo_state.json";

}  // namespace

GrpoProgress first_progress(const GrpoConfig& config) {
  GrpoProgress progress{{Watch{guard::Guard(config.guard)}}};
  progress.entropy = {.target = config.entropy_target,
                      .delta = config.entropy_coef_delta,
                      .min = config.entropy_coef_min,
                      .max = config.entropy_coef_max,
                      .coefficient = config.entropy_coef};
  return progress;
}

files::CheckpointFile progress_file(const GrpoProgress& progress) {
  return rollout_progress_file(
      kFile, progress,
      {{"entropy_coef", progress.entropy.coefficient},
       {"last_entropy", progress.entropy.last_entropy}});  // infinity, before the first step, is null
}

Result<GrpoProgress> read_progress(const std::filesystem::path& checkpoint, const GrpoConfig& config,
                                   const data::PromptSet& prompts) {
  GrpoProgress progress = first_progress(config);
  const auto read_own = [&](const files::Json& json) {
    progress.entropy.coefficient = json.at("entropy_coef").get<double>();
    const files::Json& last = json.at("last_entropy");
    progress.entropy.last_entropy = last.is_null() ? std::numeric_limits<double>::infinity() : last.get<double>();
  };
  const auto generation_of = [&](const files::Json& json) { return generation_from_json(json, prompts, config); };
  TRY(read_rollout_progress_file(checkpoint / kFile, config, read_own, generation_of, progress));
  return progress;
}

}  // namespace candor::recipes
