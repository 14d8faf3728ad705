// What a run may do with the folder that output_dir names.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/result.h"

namespace candor::recipes {

enum class OutputDir {
  kFresh,   // there is no run in it
  kResume,  // go on from its newest complete checkpoint
  kReplace  // overwrite_output_dir: the run in it may be removed
};

// True where the folder holds what a run writes: recipe.yaml, metrics.jsonl, summary.json or a checkpoint.
bool holds_run(const std::filesystem::path& output_dir);

// `resume` is resume_from_checkpoint's value: false, true or auto. Looks only, changes nothing. Errors: the folder
// holds a run and nothing says what to do with it; there is nothing to resume; the path is not a folder.
Result<OutputDir> output_dir_use(std::string_view verb, const std::filesystem::path& output_dir,
                                 std::string_view resume, bool overwrite);

}  // namespace candor::recipes
