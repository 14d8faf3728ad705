// The memory plan of distillation (memory_plan.h).
#pragma once

#include <optional>
#include <vector>

#include "recipes/distill_rows.h"
#include "recipes/distill_teacher.h"
#include "recipes/memory_plan.h"

namespace candor::recipes {

// Tokens of a row, to the student and to the teacher.
struct DistillLength {
  int64_t prompt = 1, teacher_prompt = 1, completion = 1, counted = 1;
};

struct DistillWorkload {
  std::vector<DistillLength> train, held_out;         // in the order of their rows
  std::optional<engine::SamplingShape> answers = {};  // that the evaluations before and after ask for
};
DistillWorkload distill_workload(const DistillSet& train, const DistillSet* held_out);
// Where no rows are at hand: every row is max_length tokens long, of which max_new_tokens are its completion, and the
// teacher is told `told` tokens more.
DistillWorkload distill_workload(const DistillConfig& config, int64_t context_length, int64_t told);

// Error: the recipe does not fit the model, or the teacher's files.
Result<engine::MemoryPlan> plan_distill(const DistillConfig& config, const PlanBase& base, const TeacherFiles& teacher,
                                        const DistillWorkload& workload);

}  // namespace candor::recipes
