// Departures from TRL 1.16, all of which leave the estimator as it is:
//  * Every mean in the metrics is over the whole step: TRL averages its micro-batches' means. The likelihood's mean is
//    over the tokens of per_device_train_batch_size pairs, as in TRL; the batches of a step weigh the same.
//  * The two completions of a pair share the computation of their prompt (not in ORPO, whose likelihood counts the
//  chosen
//    row's prompt), and rows are never padded.
//  * A pair whose sides are the same, and one of which a cut leaves no completion, is an error, or dropped.
#include "recipes/cpo.h"

namespace candor::recipes {

PairLoss pair_loss(const CpoConfig& config) {
  PairLoss loss;
  loss.of = [options = loss_options(config)](const algorithms::PreferenceInputs& in) {
    return algorithms::cpo_loss(in, options);
  };
  loss.has_reference = false;
  return loss;
}

PairLoss pair_loss(const OrpoConfig& config) {
  PairLoss loss;
  loss.of = [beta = config.beta](const algorithms::PreferenceInputs& in) { return algorithms::orpo_loss(in, beta); };
  loss.has_reference = false;
  loss.prompt_counts = true;
  return loss;
}

Result<SupervisedStart> start_cpo(const PreferenceConfig& config, const engine::Context& context, engine::Model& model,
                                  const files::ModelFiles& files, const data::PairSet& rows) {
  return start_supervised(config, context, model, files, static_cast<int64_t>(rows.rows.size()), digest_of(rows));
}

Result<SupervisedResult> run_cpo(const CpoConfig& config, const PairParts& parts, SupervisedStart start) {
  return run_on_pairs("cpo", config, parts, pair_loss(config), std::move(start));
}

Result<SupervisedResult> run_orpo(const OrpoConfig& config, const PairParts& parts, SupervisedStart start) {
  return run_on_pairs("orpo", config, parts, pair_loss(config), std::move(start));
}

}  // namespace candor::recipes
