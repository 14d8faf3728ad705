// GRPO and the verbs that are the same recipe, as runs: what `candor grpo` and `candor quickstart` share.
#pragma once

#include "cli/rollout_job.h"
#include "recipes/grpo_config.h"

namespace candor::cli {

using GrpoJob = RolloutJob<recipes::GrpoConfig>;

// The recipe of candor quickstart, and of its --offline.
recipes::GrpoConfig quickstart_recipe(bool offline);

RolloutRecipe<recipes::GrpoConfig> grpo_recipe(const recipes::GrpoConfig& config);

// As run_rollout_job.
int run_grpo_job(const GrpoJob& job);

}  // namespace candor::cli
