#include "recipes/pair_step.h"

#include <algorithm>

#include "base/check.h"
#include "recipes/preference_gold.h"
#include "recipes/seen_preferences.h"
#include "recipes/sft_pass.h"

namespace candor::recipes {

namespace {

using algorithms::PreferenceLoss;

// Pairs that share a loss, and by what its means are divided.
struct LocalBatch {
  size_t begin = 0, end = 0;
  int64_t pairs = 0, chosen_tokens = 0;
};

// Tokens of the chosen row by which its likelihood is divided.
int64_t chosen_tokens(const data::PreferencePair& pair, bool prompt_counts) {
  return prompt_counts ? static_cast<int64_t>(pair.chosen.ids.size()) - 1 : pair.chosen.counted();
}

std::vector<LocalBatch> local_batches(std::span<const data::PreferencePair* const> pairs, size_t size,
                                      bool prompt_counts) {
  std::vector<LocalBatch> batches;
  const size_t count = (pairs.size() + size - 1) / size;
  for (size_t begin = 0; begin < pairs.size(); begin += size) {
    LocalBatch batch{begin, std::min(begin + size, pairs.size()), 0, 0};
    batch.pairs = static_cast<int64_t>((batch.end - begin) * count);
    for (size_t i = begin; i < batch.end; ++i)
      batch.chosen_tokens += chosen_tokens(*pairs[i], prompt_counts) * static_cast<int64_t>(count);
    batches.push_back(batch);
  }
  return batches;
}

// The loss of neighbouring pairs of one batch.
Result<PreferenceLoss> loss_of(const PairLoss& loss, std::span<const data::PreferencePair* const> pairs,
                               const PairLogprobs& policy, std::span<const double> reference, const LocalBatch& batch) {
  std::vector<int64_t> lengths;  // TRL's: the first token of a completion without a prompt is one of them
  for (const data::PreferencePair* pair : pairs)
    for (const data::Answer* answer : {&pair->chosen, &pair->rejected})
      lengths.push_back(static_cast<int64_t>(answer->ids.size()) - answer->prompt_tokens);
  algorithms::PreferenceInputs in{policy.rows(), policy.logprobs, reference};
  in.entropies = policy.entropies;
  in.log_sum_sq_probs = policy.log_sum_sq_probs;
  in.correct = policy.correct;
  in.lengths = lengths;
  in.pairs = batch.pairs;
  in.chosen_tokens = batch.chosen_tokens;
  return loss.of(in);
}

// One step at work.
class PairStep {
 public:
  PairStep(const PreferenceConfig& config, const PairParts& parts, const PairLoss& loss,
           std::span<const int64_t> numbers, const StepContext& at, engine::PolicyPass& reference_pass)
      : config_(config), parts_(parts), loss_(loss), numbers_(numbers), at_(at), reference_pass_(reference_pass) {
    for (const int64_t number : numbers) {
      pairs_.push_back(&parts.rows.rows[number]);
      groups_.push_back(pair_groups(*pairs_.back(), static_cast<int64_t>(groups_.size()), loss.prompt_counts));
    }
    batches_ = local_batches(pairs_, static_cast<size_t>(config.per_device_train_batch_size), loss.prompt_counts);
  }

  Result<SupervisedStep> run() {
    if (loss_.looks_at_the_batch) TRY(know_the_batches());
    std::optional<Error> failed;
    const auto ranges = engine::shard_ranges(static_cast<int64_t>(pairs_.size()), config_.gradient_shards);
    at_.shards.reduce(parts_.run.context, [&](int64_t shard, float* gradients) {
      for_each_slice(static_cast<size_t>(ranges[shard].begin), static_cast<size_t>(ranges[shard].end),
                     [&](size_t begin, size_t end, const LocalBatch& batch) {
                       if (failed) return;
                       if (const auto done = train(begin, end, batch, gradients); !done) failed = done.error();
                     });
    });
    if (failed) return *failed;
    SupervisedStep step;
    for (const algorithms::PreferencePair& pair : measured_) step.loss += pair.loss;
    for (const data::PreferencePair* pair : pairs_)
      step.tokens += static_cast<int64_t>(pair->chosen.ids.size() + pair->rejected.ids.size());
    step.metrics = algorithms::preference_metrics(measured_, {.entropies = true, .correct = true}, parts_of_loss_);
    step.preferences = seen_pairs(measured_);
    return step;
  }

 private:
  // Pairs [begin, end) cut where a batch ends and where a pass is full.
  template <typename Act>
  void for_each_slice(size_t begin, size_t end, const Act& act) {
    for (const LocalBatch& batch : batches_) {
      size_t at = std::max(begin, batch.begin);
      const size_t last = std::min(end, batch.end);
      if (at >= last) continue;
      for (const auto slice :
           pair_micro_batches(std::span(groups_).subspan(at, last - at), micro_batch_tokens(config_))) {
        act(at, at + slice.size(), batch);
        at += slice.size();
      }
    }
  }

  std::vector<double> reference(size_t begin, size_t end) {
    if (!loss_.has_reference) return {};
    if (parts_.reference_of_rows == nullptr)
      return forward_pairs(reference_pass_, parts_.reference, std::span(groups_).subspan(begin, end - begin)).logprobs;
    std::vector<double> all;
    for (size_t i = begin; i < end; ++i) {
      const std::vector<double>& own = (*parts_.reference_of_rows)[static_cast<size_t>(numbers_[i])];
      all.insert(all.end(), own.begin(), own.end());
    }
    return all;
  }

  PairLogprobs policy(size_t begin, size_t end) {
    return forward_pairs(at_.pass, at_.trained.adapter.get(), std::span(groups_).subspan(begin, end - begin),
                         loss_.has_weights);
  }

  // The losses that look at the whole batch: its log-probabilities first, then the loss; the passes come again.
  Result<void> know_the_batches() {
    for (const LocalBatch& batch : batches_) {
      PairLogprobs all;
      std::vector<double> references;
      for_each_slice(batch.begin, batch.end, [&](size_t begin, size_t end, const LocalBatch&) {
        const std::vector<double> of_reference = reference(begin, end);
        references.insert(references.end(), of_reference.begin(), of_reference.end());
        all.append(policy(begin, end));
      });
      const PreferenceLoss loss =
          TRY(loss_of(loss_, std::span(pairs_).subspan(batch.begin, batch.end - batch.begin), all, references, batch));
      note(loss);
      for (size_t i = 0; i < batch.end - batch.begin; ++i)
        known_.emplace_back(loss.d_logprobs.begin() + all.offsets[2 * i],
                            loss.d_logprobs.begin() + all.offsets[2 * i + 2]);
    }
    return {};
  }

  void note(const PreferenceLoss& loss) {
    measured_.insert(measured_.end(), loss.pairs.begin(), loss.pairs.end());
    parts_of_loss_ = loss.parts;
  }

  Result<void> train(size_t begin, size_t end, const LocalBatch& batch, float* gradients) {
    const std::vector<double> of_reference = known_.empty() ? reference(begin, end) : std::vector<double>();
    const PairLogprobs out = policy(begin, end);
    std::vector<float> d_logprobs;
    if (known_.empty()) {
      const PreferenceLoss loss =
          TRY(loss_of(loss_, std::span(pairs_).subspan(begin, end - begin), out, of_reference, batch));
      note(loss);
      d_logprobs.assign(loss.d_logprobs.begin(), loss.d_logprobs.end());
    } else {
      for (size_t i = begin; i < end; ++i) d_logprobs.insert(d_logprobs.end(), known_[i].begin(), known_[i].end());
    }
    at_.pass.backward(at_.trainable, d_logprobs, std::vector<float>(d_logprobs.size(), 0.0f), gradients);
    return {};
  }

  const PreferenceConfig& config_;
  const PairParts& parts_;
  const PairLoss& loss_;
  std::span<const int64_t> numbers_;  // of the rows
  const StepContext& at_;
  engine::PolicyPass& reference_pass_;
  std::vector<const data::PreferencePair*> pairs_;
  std::vector<PairGroups> groups_;
  std::vector<LocalBatch> batches_;
  std::vector<std::vector<double>> known_;  // [pair] d_logprobs, where the loss looks at the whole batch
  std::vector<algorithms::PreferencePair> measured_;
  std::vector<std::string> parts_of_loss_;
};

}  // namespace

Result<SupervisedStep> train_on_pairs(const PreferenceConfig& config, const PairParts& parts, const PairLoss& loss,
                                      std::span<const int64_t> numbers, const StepContext& step,
                                      engine::PolicyPass& reference) {
  return PairStep(config, parts, loss, numbers, step, reference).run();
}

double PairEvaluation::loss() const {
  double sum = 0;
  for (const algorithms::PreferencePair& pair : pairs) sum += pair.loss;
  return sum;
}

algorithms::Metrics PairEvaluation::metrics() const {
  algorithms::Metrics all = {{"eval_loss", loss()}};
  for (const algorithms::Metric& metric :
       algorithms::preference_metrics(pairs, {.entropies = true, .correct = true}, parts))
    all.push_back({"eval_" + metric.name, metric.value});
  return all;
}

Result<std::optional<PairEvaluation>> evaluate_pairs(const PreferenceConfig& config, const engine::Context& context,
                                                     const engine::Model& model, const engine::Adapter* adapter,
                                                     const data::PairSet& set, const PairLoss& loss,
                                                     const ReferenceLogprobs* reference,
                                                     const std::function<bool(size_t done, size_t all)>& ready) {
  engine::PolicyPass pass(context, "evaluation", model, adapter == nullptr ? 0 : adapter->max_padded_rank,
                          engine::PolicyPass::Keep::kOneLayer);
  std::vector<const data::PreferencePair*> pairs;
  LocalBatch whole{0, set.rows.size(), static_cast<int64_t>(set.rows.size()), 0};
  for (const data::PreferencePair& pair : set.rows) {
    pairs.push_back(&pair);
    whole.chosen_tokens += chosen_tokens(pair, loss.prompt_counts);
  }
  const auto batch_size = static_cast<size_t>(config.per_device_train_batch_size);
  PairEvaluation evaluation;
  for (size_t begin = 0; begin < pairs.size(); begin += batch_size) {
    const size_t end = std::min(begin + batch_size, pairs.size());
    std::vector<PairGroups> groups;
    for (size_t i = begin; i < end; ++i) groups.push_back(pair_groups(*pairs[i], 0, loss.prompt_counts));
    PairLogprobs out;
    for (const auto slice : pair_micro_batches(groups, kEvaluationTokens))
      out.append(forward_pairs(pass, adapter, slice, loss.has_weights));
    std::vector<double> of_reference;
    for (size_t i = begin; i < end; ++i) {
      const auto* own = out.logprobs.data();
      const size_t row = 2 * (i - begin);
      evaluation.logprobs.emplace_back(own + out.offsets[row], own + out.offsets[row + 2]);
      const std::vector<double>& held_against = reference == nullptr ? evaluation.logprobs.back() : (*reference)[i];
      if (loss.has_reference) of_reference.insert(of_reference.end(), held_against.begin(), held_against.end());
    }
    const PreferenceLoss of_batch =
        TRY(loss_of(loss, std::span(pairs).subspan(begin, end - begin), out, of_reference, whole));
    evaluation.pairs.insert(evaluation.pairs.end(), of_batch.pairs.begin(), of_batch.pairs.end());
    evaluation.parts = of_batch.parts;
    if (!ready(end, pairs.size())) return std::optional<PairEvaluation>();
  }
  return std::optional(std::move(evaluation));
}

Result<SupervisedResult> run_on_pairs(std::string_view recipe, const PreferenceConfig& config, const PairParts& parts,
                                      const PairLoss& loss, SupervisedStart start) {
  // Where every weight trains the model is no reference of itself.
  CHECK(!loss.has_reference || start.trained.adapter || parts.reference_of_rows != nullptr);
  engine::PolicyPass reference_pass(parts.run.context, "reference", parts.run.model,
                                    parts.reference == nullptr ? 0 : parts.reference->max_padded_rank,
                                    engine::PolicyPass::Keep::kOneLayer);
  const ReferenceLogprobs* of_held_out = parts.reference_of_held_out;
  std::optional<ReferenceLogprobs> computed;
  if (parts.held_out != nullptr && loss.has_reference && of_held_out == nullptr) {
    computed = reference_logprobs(parts.run.context, parts.run.model, parts.reference, *parts.held_out,
                                  [](size_t, size_t) { return true; });
    of_held_out = &*computed;
  }
  SupervisedTask task;
  task.recipe = recipe;
  task.rows_per_step = config.rows_per_step();
  const auto evaluate = [&](const Trained& trained) -> Result<PairEvaluation> {
    auto evaluation = TRY(evaluate_pairs(config, parts.run.context, parts.run.model, trained.adapter.get(),
                                         *parts.held_out, loss, of_held_out, parts.run.count_evaluated()));
    CHECK(evaluation.has_value());  // which nobody ends
    return *std::move(evaluation);
  };
  task.accumulate = [&](std::span<const int64_t> rows, const StepContext& at) -> Result<SupervisedStep> {
    SupervisedStep step = TRY(train_on_pairs(config, parts, loss, rows, at, reference_pass));
    const int64_t number = at.state.step + 1;
    if (parts.gold != nullptr && config.measures_gold(number, number)) {
      const PairEvaluation evaluation = TRY(evaluate(at.trained));
      note_gold(gold_of_pairs(*parts.gold, evaluation.pairs), step);
    }
    return step;
  };
  task.evaluate = [&](Trained& trained,
                      const std::function<void(const std::string&)>& say) -> Result<algorithms::Metrics> {
    const PairEvaluation evaluation = TRY(evaluate(trained));
    const algorithms::Metrics metrics = evaluation.metrics();
    say(fmt::format("held out, loss {:.4f}, chosen ahead of rejected in {:.1f}% of pairs", metrics[0].value,
                    100 * metrics[3].value));
    return metrics;
  };
  return run_supervised(config, parts.run, task, std::move(start));
}

}  // namespace candor::recipes
