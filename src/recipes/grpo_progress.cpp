#include "recipes/grpo_progress.h"

#include <cmath>
#include <limits>
#include <utility>

#include "recipes/metrics_log.h"

namespace candor::recipes {

namespace {

constexpr const char* kFile = "grpo_state.json";
constexpr uint64_t kMostBytes = uint64_t{1} << 34;  // rollouts of a long context

}  // namespace

GrpoProgress first_progress(const GrpoConfig& config) {
  GrpoProgress progress;
  progress.entropy = {.target = config.entropy_target,
                      .delta = config.entropy_coef_delta,
                      .min = config.entropy_coef_min,
                      .max = config.entropy_coef_max,
                      .coefficient = config.entropy_coef};
  return progress;
}

files::CheckpointFile progress_file(const GrpoProgress& progress) {
  files::Json json = {{"entropy_coef", progress.entropy.coefficient},
                      {"last_entropy", progress.entropy.last_entropy},  // infinity, before the first step, is null
                      {"generation", nullptr},
                      {"unfinished_row", metrics_row(progress.unfinished_row)}};
  if (progress.generation) json["generation"] = generation_json(*progress.generation);
  return {kFile, [text = json.dump() + "\n"](OutputFile& out) { return out.write(text); }};
}

Result<GrpoProgress> read_progress(const std::filesystem::path& checkpoint, const GrpoConfig& config,
                                   const data::PromptSet& prompts) {
  GrpoProgress progress = first_progress(config);
  const std::filesystem::path path = checkpoint / kFile;
  const files::Json json = TRY(files::read_json_file(path, kMostBytes));
  try {
    progress.entropy.coefficient = json.at("entropy_coef").get<double>();
    const files::Json& last = json.at("last_entropy");
    progress.entropy.last_entropy = last.is_null() ? std::numeric_limits<double>::infinity() : last.get<double>();
    for (const auto& [name, value] : json.at("unfinished_row").items())
      progress.unfinished_row.push_back({name, value.is_null() ? std::nan("") : value.get<double>()});
    if (!json.at("generation").is_null()) {
      auto generation = generation_from_json(json["generation"], prompts, config);
      if (!generation) return error("[resume] {}: {}", path.string(), generation.error().message);
      progress.generation = std::move(*generation);
    }
  } catch (const files::Json::exception& e) {
    return error("[resume] {}: {}. The checkpoint was not written by this version of the program.", path.string(),
                 e.what());
  }
  return progress;
}

}  // namespace candor::recipes
