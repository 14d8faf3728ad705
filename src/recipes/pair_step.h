// Training and evaluation on pairs by a loss of their log-probabilities: what DPO, CPO and ORPO share.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "recipes/preference_config.h"
#include "recipes/preference_pass.h"
#include "recipes/supervised.h"

namespace candor::recipes {

struct GoldScores;  // preference_gold.h

struct PairParts {
  SupervisedParts run;
  const data::PairSet& rows;
  const data::PairSet* held_out = nullptr;
  // The reference of a loss that has one: this adapter on the model (null: the model alone), or its log-probabilities,
  // computed before the start (where every weight trains the model as it was is gone later).
  const engine::Adapter* reference = nullptr;
  const ReferenceLogprobs* reference_of_rows = nullptr;
  const ReferenceLogprobs* reference_of_held_out = nullptr;
  const GoldScores* gold = nullptr;  // of the held-out pairs; null: there is no held-out reward
};

// A loss on pairs, as a step sees it.
struct PairLoss {
  // Of neighbouring pairs of one batch: inputs without what the flags below leave out.
  std::function<Result<algorithms::PreferenceLoss>(const algorithms::PreferenceInputs&)> of;
  bool has_reference = true;
  bool looks_at_the_batch = false;  // per_device_train_batch_size pairs at once
  bool prompt_counts = false;       // the chosen row's prompt has log-probabilities, too, with mask 0 (ORPO)
  bool has_weights = false;         // log_sum_sq_probs are asked for (WPO): one more pass over the vocabulary
};

// Forward, loss and backward of the pairs of these numbers, shard by shard. `reference` computes the reference where it
// is not given.
Result<SupervisedStep> train_on_pairs(const PreferenceConfig& config, const PairParts& parts, const PairLoss& loss,
                                      std::span<const int64_t> numbers, const StepContext& step,
                                      engine::PolicyPass& reference);

// What a model says of held-out pairs, with means over all of them.
struct PairEvaluation {
  std::vector<algorithms::PreferencePair> pairs;
  std::vector<std::string> parts;  // names of what else the loss has measured
  ReferenceLogprobs logprobs;      // the model's own
  double loss() const;
  // eval_loss, eval_rewards/…, eval_logps/…, eval_mean_token_accuracy, eval_entropy
  algorithms::Metrics metrics() const;
};

// adapter: null = the model alone. reference: null where the loss has none, or where the model is its own. `ready` is
// told how many pairs are done; where it returns false the answer is empty. Error: the loss's own.
Result<std::optional<PairEvaluation>> evaluate_pairs(const PreferenceConfig& config, const engine::Context& context,
                                                     const engine::Model& model, const engine::Adapter* adapter,
                                                     const data::PairSet& set, const PairLoss& loss,
                                                     const ReferenceLogprobs* reference,
                                                     const std::function<bool(size_t done, size_t all)>& ready);

// As run_supervised, with the two above.
Result<SupervisedResult> run_on_pairs(std::string_view recipe, const PreferenceConfig& config, const PairParts& parts,
                                      const PairLoss& loss, SupervisedStart start);

}  // namespace candor::recipes
