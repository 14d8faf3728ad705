#include "recipes/memory_plan_parts.h"

#include "recipes/micro_batches.h"
#include "recipes/training_run.h"

namespace candor::recipes {

Result<engine::Model> plan_base(engine::Planner& planner, const TrainingConfig& config, const PlanBase& base,
                                WithHead with_head) {
  for (const HeldBytes& held : base.held) planner.hold(held.role, held.name, held.bytes);
  const engine::Dtype dtype = TRY(training_dtype(config, base.files, base.kernels));
  return with_head == WithHead::kScore ? engine::load_body(planner.context(), base.files, dtype)
                                       : engine::load_model(planner.context(), base.files, dtype);
}

void plan_checkpoint(engine::Planner& planner, const engine::Adapter* adapter, const engine::ScalarHead* head) {
  planner.phase("checkpoint", [&] {
    const int64_t numbers = (adapter == nullptr ? 0 : adapter->trainable) +
                            (adapter == nullptr || head == nullptr ? 0 : head->labels * (head->width + 1));
    const engine::CountedBytes saved(planner.context().ledger, "checkpoint", "adapter's files",
                                     3 * numbers * static_cast<int64_t>(sizeof(float)));
  });
}

void add_batches(const std::vector<engine::BatchShape>& items, int64_t budget, Batches& batches) {
  for (const auto& [begin, end] : batches_within(items.size(), budget, [&](size_t i) { return items[i].tokens; })) {
    engine::BatchShape batch;
    for (size_t i = begin; i < end; ++i) batch += items[i];
    batches[batch.tokens].include(batch);
  }
}

engine::BatchShape kept_whole(engine::PolicyPass& pass, const engine::BatchShape& batch) {
  int64_t most = 0, beyond = batch.tokens + 1;
  while (most + 1 < beyond) {
    const int64_t middle = most + (beyond - most) / 2;
    (pass.activations().keep_of(middle) == engine::PolicyPass::Keep::kAllLayers ? most : beyond) = middle;
  }
  const auto share = [&](int64_t of_all) { return (of_all * most + batch.tokens - 1) / batch.tokens; };
  return {most, share(batch.pages), share(batch.entries)};
}

}  // namespace candor::recipes
