// Makes a recipe fit into a memory limit: by what changes no result, unasked; by anything else as advice.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/memory_plan.h"
#include "recipes/grpo_config.h"
#include "recipes/sft_config.h"

namespace candor::recipes {

// Plans a recipe. A change that the model refuses is an error.
template <typename Config>
using PlanOf = std::function<Result<engine::MemoryPlan>(const Config&)>;

template <typename Config>
struct Fitted {
  Config config;  // with micro_batch_tokens chosen
  engine::MemoryPlan plan;
};
// The plan of this recipe. Where micro_batch_tokens is 0 it becomes the largest, up to kMicroBatchTokens, with which
// the plan is within `limit`; where none is, kMicroBatchTokens.
template <typename Config>
Result<Fitted<Config>> fit_micro_batch(const Config& config, const PlanOf<Config>& plan_of, int64_t limit);

// A change of the recipe that brings its peak within the limit.
struct Change {
  std::string flags;  // as one writes them: "--dtype bfloat16"
  int64_t peak_bytes = 0;
};
// Up to three, the cheapest first: what costs only time, then what changes the arithmetic, then what trains less. A
// single key each, by as little as will do; where no single one will do, one change of several keys, or none.
template <typename Config>
std::vector<Change> cheapest_changes(const Config& config, const PlanOf<Config>& plan_of, int64_t limit);

}  // namespace candor::recipes
