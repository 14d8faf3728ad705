// The memory plans of the recipes on preferences (memory_plan.h).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "data/preference_set.h"
#include "recipes/kto_config.h"
#include "recipes/memory_plan.h"
#include "recipes/pair_step.h"
#include "recipes/prm_config.h"
#include "recipes/reward_config.h"

namespace candor::recipes {

// A prompt with its completions, as a pass takes them.
struct GroupLength {
  int64_t prompt = 1;  // tokens
  std::vector<int64_t> completions;
};
// In the order of their rows.
struct PreferenceWorkload {
  std::vector<std::vector<GroupLength>> train, held_out;  // [row]: one group, or one for each side of a pair
  std::optional<engine::SamplingShape> answers = {};      // that the measurements before and after ask for
};
PreferenceWorkload preference_workload(const data::PairSet& train, const data::PairSet* held_out,
                                       bool prompt_counts = false);
PreferenceWorkload preference_workload(const data::LabelledSet& train, const data::LabelledSet* held_out);
PreferenceWorkload preference_workload(const data::StepwiseSet& train, const data::StepwiseSet* held_out);
// Where no rows are at hand: every row is max_length tokens long, or what the context holds. completions: of a row.
PreferenceWorkload preference_workload(const PreferenceConfig& config, int64_t context_length, int64_t completions);

// precomputes: the reference of all rows is computed before the start. Errors: as plan_sft, here and below.
Result<engine::MemoryPlan> plan_pairs(const PreferenceConfig& config, const PairLoss& loss, bool precomputes,
                                      const PlanBase& base, const PreferenceWorkload& workload);
Result<engine::MemoryPlan> plan_kto(const KtoConfig& config, const PlanBase& base, const PreferenceWorkload& workload);
Result<engine::MemoryPlan> plan_reward(const RewardConfig& config, const PlanBase& base,
                                       const PreferenceWorkload& workload);
Result<engine::MemoryPlan> plan_prm(const PrmConfig& config, const PlanBase& base, const PreferenceWorkload& workload);

}  // namespace candor::recipes
