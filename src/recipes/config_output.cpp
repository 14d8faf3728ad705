#include "recipes/config_output.h"

namespace candor::recipes {

bool holds_run(const std::filesystem::path& output_dir) {
  std::error_code failure;
  for (const char* name : {"recipe.yaml", "metrics.jsonl", "summary.json"})
    if (std::filesystem::exists(output_dir / name, failure)) return true;
  for (const auto& entry : std::filesystem::directory_iterator(output_dir, failure))
    if (entry.path().filename().string().starts_with("checkpoint-")) return true;
  return false;
}

Result<OutputDir> output_dir_use(std::string_view verb, const std::filesystem::path& output_dir,
                                 std::string_view resume, bool overwrite) {
  std::error_code failure;
  if (std::filesystem::exists(output_dir, failure) && !std::filesystem::is_directory(output_dir, failure))
    return error("[{}] output_dir {} is a file. Give the name of a folder.", verb, output_dir.string());
  const bool run = holds_run(output_dir);
  if (resume == "true" && !run)
    return error("[{}] resume_from_checkpoint is true, but {} holds no run. Use auto to start where there is none.",
                 verb, output_dir.string());
  if (!run) return OutputDir::kFresh;
  if (resume != "false") return OutputDir::kResume;
  if (overwrite) return OutputDir::kReplace;
  return error(
      "[{}] {} already holds a run. Give another output_dir, resume_from_checkpoint true to go on with it, or "
      "overwrite_output_dir true to replace it.",
      verb, output_dir.string());
}

}  // namespace candor::recipes
