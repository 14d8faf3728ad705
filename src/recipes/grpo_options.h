// From the recipe's keys to the options of the rooms that a GRPO step passes through.
#pragma once

#include "algorithms/advantages.h"
#include "algorithms/grpo.h"
#include "recipes/grpo.h"

namespace candor::recipes {

// Of a recipe whose loss is one of the group losses (not on pairs); beta is 0 where the KL is in the reward.
algorithms::GrpoOptions loss_options(const GrpoConfig& config);
algorithms::AdvantageOptions advantage_options(const GrpoConfig& config);

}  // namespace candor::recipes
