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

// Makes the folder ready and writes recipe.yaml into it. A folder that already holds a run is refused, unless it is to be
// resumed (then no key that changes results may differ from the run's recipe; more steps are allowed) or overwritten
// (then what the run wrote is removed). Errors say what the folder holds and which options there are.
// `now` holds the resolved keys, `stored` points into another instance with the defaults, for the folder's own recipe.
Result<void> prepare_run_directory(const RunDirectory& run, const FieldList& now, const FieldList& stored);

}  // namespace candor::recipes
