#include "recipes/ppo_progress.h"

#include "recipes/metrics_log.h"

namespace candor::recipes {

namespace {

constexpr const char* kFile = "ppo_state.json";
constexpr uint64_t kMostBytes = uint64_t{1} << 34;  // rollouts of a long context

}  // namespace

files::CheckpointFile progress_file(const PpoProgress& progress) {
  files::Json json = {{"kl_coef", progress.kl_coef},
                      {"generations", progress.generations},
                      {"generation", nullptr},
                      {"unfinished_row", metrics_row(progress.unfinished_row)}};
  if (progress.generation) json["generation"] = generation_json(*progress.generation);
  return {kFile, [text = json.dump() + "\n"](OutputFile& out) { return out.write(text); }};
}

Result<PpoProgress> read_ppo_progress(const std::filesystem::path& checkpoint, const PpoConfig& config,
                                      const data::PromptSet& prompts) {
  PpoProgress progress;
  const std::filesystem::path path = checkpoint / kFile;
  const files::Json json = TRY(files::read_json_file(path, kMostBytes));
  try {
    progress.kl_coef = json.at("kl_coef").get<double>();
    progress.generations = json.at("generations").get<int64_t>();
    for (const auto& [name, value] : json.at("unfinished_row").items())
      progress.unfinished_row.push_back({name, number_of(value)});
    if (!json.at("generation").is_null()) {
      auto generation = ppo_generation_from_json(json["generation"], prompts, config);
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
