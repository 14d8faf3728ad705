// The folder of a run: who may write into it.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "recipes/fields.h"

namespace candor::recipes {

struct RunDirectory {
  std::filesystem::path path;
  std::string resume = "false";  // resume_from_checkpoint: false, true, auto
  bool overwrite = false;
};

// Whether the run may have the folder; changes nothing, so it can be asked before anything is loaded. A folder that
// already holds a run is refused, unless it is to be resumed (then no key that changes results may differ from the
// run's recipe; more steps are allowed) or overwritten. Errors say what the folder holds and which options there are.
// `now` holds the resolved keys, `stored` points into another instance with the defaults, for the folder's own recipe.
Result<void> check_run_directory(const RunDirectory& run, const FieldList& now, const FieldList& stored);

// Checks, makes the folder, removes what a run wrote that is to be overwritten, and writes recipe.yaml.
Result<void> prepare_run_directory(const RunDirectory& run, const FieldList& now, const FieldList& stored);

}  // namespace candor::recipes
