// The memory plan of PPO (memory_plan.h).
#pragma once

#include "recipes/memory_plan.h"
#include "recipes/ppo_config.h"

namespace candor::recipes {

// Error: the recipe does not fit the model, or a role that it names cannot be had.
Result<engine::MemoryPlan> plan_ppo(const PpoConfig& config, const PlanBase& base, const GrpoWorkload& workload);

}  // namespace candor::recipes
