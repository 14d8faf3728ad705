// The largest micro-batch that groups of completions can make, for memory plans.
#pragma once

#include <cstdint>

#include "engine/policy_pass.h"

namespace candor::recipes {

struct GroupsOfCompletions {
  int64_t groups = 1;  // that may go together
  int64_t group_size = 1;
  int64_t longest_prompt = 1, longest_completion = 1;  // tokens
  int64_t budget = 1;                                  // tokens of a micro-batch, where a single group has fewer
};
// The larger of each over all micro-batches that completions of any length can make.
engine::BatchShape worst_batch(const GroupsOfCompletions& all);

}  // namespace candor::recipes
