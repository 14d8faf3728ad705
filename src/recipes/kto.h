// Learning from single completions that are wanted or not: KTO, APO's zero_unpaired and BCO (algorithms/unpaired.h), of
// a LoRA adapter on a frozen base.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "algorithms/unpaired.h"
#include "data/preference_set.h"
#include "engine/policy_pass.h"
#include "recipes/kto_config.h"
#include "recipes/supervised.h"

namespace candor::recipes {

struct KtoParts {
  SupervisedParts run;
  const data::LabelledSet& rows;
  const data::LabelledSet* held_out = nullptr;
  const engine::Adapter* reference = nullptr;  // null: the model alone
};

// A row as a pass takes it: one completion. It points into `answer`. `number`: of the row in its step, for dropout.
engine::RolloutGroup answer_group(const data::Answer& answer, int64_t number);

// TRL's mismatched rows of a batch: each prompt with the completion of the row before it, the first with the last's. A
// token that the next prompt does not know (its first, where there is no prompt) stays where it is.
std::vector<engine::RolloutGroup> mismatched_groups(std::span<const engine::RolloutGroup> batch);

// As start_supervised.
Result<SupervisedStart> start_kto(const KtoConfig& config, const engine::Context& context, engine::Model& model,
                                  const files::ModelFiles& files, const data::LabelledSet& rows);

// As run_supervised.
Result<SupervisedResult> run_kto(const KtoConfig& config, const KtoParts& parts, SupervisedStart start);

// What a model says of held-out rows.
struct KtoEvaluation {
  std::vector<algorithms::UnpairedRow> rows;  // the loss divided by their number
  algorithms::Metric baseline;                // `kl`, or BCO's `delta`: the mean over batches
  double loss() const;
  algorithms::Metrics metrics() const;  // eval_loss, eval_rewards/…, eval_logps/…, eval_kl or eval_delta
};

// adapter, reference: null = the model alone. delta: BCO's baseline. `ready` is told how many rows are done; where it
// returns false the answer is empty.
std::optional<KtoEvaluation> evaluate_kto(const KtoConfig& config, const engine::Context& context,
                                          const engine::Model& model, const engine::Adapter* adapter,
                                          const engine::Adapter* reference, const data::LabelledSet& set, double delta,
                                          const std::function<bool(size_t done, size_t all)>& ready);

}  // namespace candor::recipes
