// Makes a recipe fit into a memory limit: by what changes no result, unasked; by anything else as advice.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/memory_plan.h"
#include "recipes/grpo_config.h"
#include "recipes/ppo_config.h"
#include "recipes/preference_config.h"
#include "recipes/sft_config.h"

namespace candor::recipes {

// Plans a recipe. A change that the model refuses is an error.
template <typename Config>
using PlanOf = std::function<Result<engine::MemoryPlan>(const Config&)>;

template <typename Config>
struct Fitted {
  Config config;  // with micro_batch_tokens chosen, and gradient_checkpointing where that was needed
  engine::MemoryPlan plan;
};
// The plan of this recipe, with the fastest choice of what changes no bit of the result that is within `limit`: where
// micro_batch_tokens is 0, kMicroBatchTokens or as much less as it takes; where gradient_checkpointing is auto, with
// none of these enough, true. Where nothing fits: the choice that takes least.
template <typename Config>
Result<Fitted<Config>> fit_into(const Config& config, const PlanOf<Config>& plan_of, int64_t limit);

// A change of the recipe that brings its peak within the limit.
struct Change {
  std::string flags;  // as one writes them: "--dtype bfloat16"
  int64_t peak_bytes = 0;
};
// Up to three, the cheapest first: what costs only time, then what changes the arithmetic, then what trains less. A
// single key each, by as little as will do beside what fit_into() chooses anyway; where no single one will do, one
// change of several keys, or none.
template <typename Config>
std::vector<Change> cheapest_changes(const Config& config, const PlanOf<Config>& plan_of, int64_t limit);

}  // namespace candor::recipes
