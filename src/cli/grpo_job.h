// A GRPO run from a resolved recipe to its page: what `candor grpo` and `candor quickstart` share.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "recipes/grpo_config.h"

namespace candor::cli {

struct GrpoJob {
  recipes::GrpoConfig config;
  std::string command;                    // as the user typed it
  bool json = false;                      // one JSON object at the end instead of a table
  std::function<Result<void>()> prepare;  // writes files that the recipe names, once its folder is found free; or empty
};

// With an eval_dataset the same items are answered before and after, greedily and sampled, and compared. Returns the
// exit code; everything is said on the terminal and written into config.output_dir.
int run_grpo_job(const GrpoJob& job);

}  // namespace candor::cli
