// Distillation: a student learns a teacher's whole next-token distributions, on the rows' completions, on its own, or
// on the teacher's (GKD, arXiv 2306.13649), or by policy gradient (MiniLLM, 2306.08543). The teacher may be the
// student's own base that is told more: prompt (context) distillation.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/roles.h"
#include "recipes/distill_config.h"
#include "recipes/distill_rows.h"
#include "recipes/supervised.h"

namespace candor::recipes {

// What the recipe is given by cli, where the parts meet.
struct DistillParts {
  SupervisedParts run;
  const engine::Role& teacher;  // on the student's base, or on a model of its own with the same vocabulary
  const DistillSet& rows;
  const DistillSet* held_out = nullptr;
  std::vector<int32_t> stop_ids;  // that end a completion
};

// What one row came to, with the loss divided by the step's counted tokens.
struct DistilledRow {
  double loss = 0;
  double divergence = 0;  // Σ over counted tokens, nats
  double entropy = 0;     // Σ of the student's
  int64_t tokens = 0;     // counted
  int64_t agreed = 0;     // tokens of which student and teacher find the same likeliest
};

// loss (means over tokens), divergence, entropy, agreement of these rows together.
algorithms::Metrics distill_metrics(std::span<const DistilledRow> rows);

// What a model says of rows' own completions; adapter: null = the model alone. `ready` is told how many rows are done;
// where it returns false the answer is empty.
std::optional<std::vector<DistilledRow>> evaluate_distill(const DistillConfig& config, const engine::Context& context,
                                                          const engine::Model& model, const engine::Adapter* adapter,
                                                          const engine::Role& teacher, const DistillSet& set,
                                                          const std::function<bool(size_t done, size_t all)>& ready);

// Whose completions step `step` (from 0) takes: a draw of the seed and the step.
enum class CompletionsOf { kRows, kStudent, kTeacher };
CompletionsOf completions_of(const DistillConfig& config, int64_t step);

// As start_supervised.
Result<SupervisedStart> start_distill(const DistillConfig& config, const engine::Context& context, engine::Model& model,
                                      const files::ModelFiles& files, const DistillSet& rows);

// As run_supervised.
Result<SupervisedResult> run_distill(const DistillConfig& config, const DistillParts& parts, SupervisedStart start);

}  // namespace candor::recipes
