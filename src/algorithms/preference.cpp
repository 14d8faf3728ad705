#include "algorithms/preference.h"

#include <algorithm>

#include "base/check.h"

namespace candor::algorithms {

double PreferenceLoss::loss() const {
  double sum = 0;
  for (const PreferencePair& pair : pairs) sum += pair.loss;
  return sum;
}

double row_sum(const RaggedRows& rows, std::span<const double> values, size_t row) {
  if (values.empty()) return 0;
  double sum = 0;
  for (size_t t = rows.begin(row); t < rows.end(row); ++t)
    if (rows.counts(t)) sum += values[t];
  return sum;
}

void add_to_row(const RaggedRows& rows, size_t row, double slope, std::span<double> d_logprobs) {
  for (size_t t = rows.begin(row); t < rows.end(row); ++t)
    if (rows.counts(t)) d_logprobs[t] += slope;
}

PreferenceLoss measured_pairs(const PreferenceInputs& in) {
  const size_t tokens = in.rows.tokens();
  const auto fits = [tokens](size_t size) { return size == 0 || size == tokens; };
  CHECK(in.rows.size() % 2 == 0 && in.logprobs.size() == tokens && fits(in.rows.mask.size()));
  CHECK(fits(in.reference_logprobs.size()) && fits(in.log_sum_sq_probs.size()) && fits(in.entropies.size()));
  CHECK(fits(in.mean_logits.size()) && fits(in.correct.size()));
  CHECK(in.lengths.empty() || in.lengths.size() == in.rows.size());
  PreferenceLoss out;
  out.pairs.resize(in.size());
  out.d_logprobs.assign(tokens, 0.0);
  for (size_t i = 0; i < in.size(); ++i) {
    PreferencePair& pair = out.pairs[i];
    const size_t chosen = 2 * i, rejected = chosen + 1;
    pair.chosen_tokens = in.rows.counted(chosen);
    pair.rejected_tokens = in.rows.counted(rejected);
    pair.chosen_nll = -row_sum(in.rows, in.logprobs, chosen);
    pair.entropy = row_sum(in.rows, in.entropies, chosen) + row_sum(in.rows, in.entropies, rejected);
    pair.chosen_logits = row_sum(in.rows, in.mean_logits, chosen);
    pair.rejected_logits = row_sum(in.rows, in.mean_logits, rejected);
    for (size_t t = in.rows.begin(chosen); t < in.rows.end(chosen) && !in.correct.empty(); ++t)
      pair.chosen_correct += in.rows.counts(t) && in.correct[t];
  }
  return out;
}

PreferenceMeasured measured(const PreferenceInputs& in) {
  return {!in.entropies.empty(), !in.correct.empty(), !in.mean_logits.empty()};
}

Metrics preference_metrics(std::span<const PreferencePair> pairs, const PreferenceMeasured& measured,
                           std::span<const std::string> parts) {
  PreferencePair sum;
  double right = 0;
  for (const PreferencePair& pair : pairs) {
    sum.chosen_reward += pair.chosen_reward;
    sum.rejected_reward += pair.rejected_reward;
    sum.chosen_logps += pair.chosen_logps;
    sum.rejected_logps += pair.rejected_logps;
    sum.chosen_tokens += pair.chosen_tokens;
    sum.rejected_tokens += pair.rejected_tokens;
    sum.entropy += pair.entropy;
    sum.chosen_correct += pair.chosen_correct;
    sum.chosen_logits += pair.chosen_logits;
    sum.rejected_logits += pair.rejected_logits;
    right += pair.chosen_reward > pair.rejected_reward;
    for (size_t k = 0; k < parts.size(); ++k) sum.parts[k] += pair.parts[k];
  }
  const double n = std::max<double>(1, static_cast<double>(pairs.size()));
  const auto at_least_one = [](int64_t count) { return static_cast<double>(std::max<int64_t>(count, 1)); };
  Metrics metrics = {
      {"rewards/chosen", sum.chosen_reward / n}, {"rewards/rejected", sum.rejected_reward / n},
      {"rewards/accuracies", right / n},         {"rewards/margins", (sum.chosen_reward - sum.rejected_reward) / n},
      {"logps/chosen", sum.chosen_logps / n},    {"logps/rejected", sum.rejected_logps / n}};
  if (measured.mean_logits) {
    metrics.push_back({"logits/chosen", sum.chosen_logits / at_least_one(sum.chosen_tokens)});
    metrics.push_back({"logits/rejected", sum.rejected_logits / at_least_one(sum.rejected_tokens)});
  }
  if (measured.correct)
    metrics.push_back(
        {"mean_token_accuracy", static_cast<double>(sum.chosen_correct) / at_least_one(sum.chosen_tokens)});
  if (measured.entropies)
    metrics.push_back({"entropy", sum.entropy / at_least_one(sum.chosen_tokens + sum.rejected_tokens)});
  for (size_t k = 0; k < parts.size(); ++k) metrics.push_back({parts[k], sum.parts[k]});
  return metrics;
}

}  // namespace candor::algorithms
