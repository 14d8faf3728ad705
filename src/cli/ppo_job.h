// A PPO run, as the job of all recipes that sample sees it.
#pragma once

#include "cli/rollout_job.h"
#include "recipes/ppo_config.h"

namespace candor::cli {

RolloutRecipe<recipes::PpoConfig> ppo_recipe();

}  // namespace candor::cli
