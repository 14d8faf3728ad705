// Departures from TRL 1.16, all of which leave the estimator as it is:
//  * Every mean in the metrics is over the whole step: TRL averages its micro-batches' means. The losses that look at a
//    batch (aot, aot_unpaired, and sft's mean over tokens) look at per_device_train_batch_size pairs, as in TRL; the
//    last batch of an epoch may be shorter, and the batches of a step weigh the same.
//  * The two completions of a pair share the computation of their prompt, and rows are never padded.
//  * A pair whose sides are the same, and one of which a cut leaves no completion, is an error, or dropped.
//  * The reference of an adapter that is trained on (adapter_name_or_path) is that adapter as it was.
#include "recipes/dpo.h"

#include <algorithm>

namespace candor::recipes {

PairLoss pair_loss(const DpoConfig& config) {
  const algorithms::DpoOptions options = loss_options(config);
  PairLoss loss;
  loss.of = [options](const algorithms::PreferenceInputs& in) { return algorithms::dpo_loss(in, options); };
  loss.looks_at_the_batch = std::any_of(options.losses.begin(), options.losses.end(), [](const auto& one) {
    return one.type == algorithms::DpoType::kAot || one.type == algorithms::DpoType::kAotUnpaired;
  });
  loss.has_weights = options.use_weighting;
  return loss;
}

Result<SupervisedStart> start_dpo(const DpoConfig& config, const engine::Context& context, engine::Model& model,
                                  const files::ModelFiles& files, const data::PairSet& rows) {
  return start_supervised(config, context, model, files, static_cast<int64_t>(rows.rows.size()), digest_of(rows));
}

Result<SupervisedResult> run_dpo(const DpoConfig& config, const PairParts& parts, SupervisedStart start) {
  return run_on_pairs("dpo", config, parts, pair_loss(config), std::move(start));
}

}  // namespace candor::recipes
