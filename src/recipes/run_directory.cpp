#include "recipes/run_directory.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/atomic_file.h"
#include "base/folder_lock.h"
#include "files/checkpoint.h"
#include "files/event_log.h"
#include "recipes/config.h"
#include "recipes/config_print.h"

namespace candor::recipes {

namespace {

namespace fs = std::filesystem;

// What a run writes; anything else in the folder is somebody's and stays.
constexpr const char* kRunFiles[] = {"recipe.yaml",        "metrics.jsonl",  "completions.jsonl",
                                     "reward_cache.jsonl", "screening.json", "summary.json",
                                     "report.html",        "final",          "critic"};

bool holds_run(const fs::path& path) {
  return std::any_of(std::begin(kRunFiles), std::end(kRunFiles),
                     [&](const char* name) { return fs::exists(path / name); });
}

Result<void> remove_run(const fs::path& path) {
  for (const char* name : kRunFiles) TRY(remove_tree(path / name));
  TRY(files::remove_events(path));
  for (const files::Checkpoint& checkpoint : TRY(files::list_checkpoints(path))) TRY(remove_tree(checkpoint.path));
  return {};
}

// Keys that may differ when a run goes on: how far it goes, whether the guard may end it, and what is asked before its
// first step.
bool may_change(const std::string& key) {
  return key == "max_steps" || key == "num_train_epochs" || key == "total_episodes" || key == "guard" ||
         key == "screen_rewards";
}

Result<void> check_same_recipe(const fs::path& file, const FieldList& now, const FieldList& stored) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  TRY(read_yaml(stored, text.str(), file.string()));
  for (const Difference& difference : result_differences(stored, now))
    if (!may_change(difference.key))
      return error(
          "[resume] {} was {} when the run in {} began and is {} now: the result would be neither run's. Give it "
          "the old value, or start a new run with another output_dir.",
          difference.key, difference.was, file.parent_path().string(), difference.now);
  return {};
}

}  // namespace

Result<void> check_run_directory(const RunDirectory& run, const FieldList& now, const FieldList& stored) {
  if (run.path.empty()) return error("[output_dir] no folder for the run. Give --output_dir runs/NAME.");
  if (fs::exists(run.path) && !fs::is_directory(run.path))
    return error("[output_dir] {} is a file, expected a folder. Choose another output_dir.", run.path.string());
  if (is_locked(run.path))
    return error("[output_dir] another process works in {}. Wait for it, stop it, or choose another output_dir.",
                 run.path.string());
  const bool occupied = holds_run(run.path);
  if (occupied && run.resume == "false" && !run.overwrite)
    return error(
        "[output_dir] {} already holds a run. Go on with it (--resume_from_checkpoint true), replace it "
        "(--overwrite_output_dir true), or choose another output_dir.",
        run.path.string());
  if (run.resume == "true" && (!fs::exists(run.path) || !TRY(files::newest_complete(run.path))))
    return error(
        "[resume] {} holds no complete checkpoint. Leave resume_from_checkpoint out to start a run there, or say "
        "auto to start where there is none.",
        run.path.string());
  if (occupied && run.resume != "false" && fs::exists(run.path / "recipe.yaml"))
    TRY(check_same_recipe(run.path / "recipe.yaml", now, stored));
  return {};
}

Result<void> prepare_run_directory(const RunDirectory& run, const FieldList& now, const FieldList& stored) {
  TRY(check_run_directory(run, now, stored));
  TRY(make_directories(run.path));
  if (run.overwrite) TRY(remove_run(run.path));
  return write_file_atomically(run.path / "recipe.yaml", yaml_text(now));
}

}  // namespace candor::recipes
