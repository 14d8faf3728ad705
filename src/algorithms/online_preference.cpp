#include "algorithms/online_preference.h"

#include <algorithm>

#include "base/check.h"

namespace candor::algorithms {

std::vector<uint8_t> first_is_chosen(std::span<const double> rewards, std::span<const uint8_t> ended,
                                     double missing_eos_penalty) {
  CHECK(rewards.size() % 2 == 0 && ended.size() == rewards.size());
  const auto reward = [&](size_t row) { return rewards[row] - (ended[row] ? 0.0 : missing_eos_penalty); };
  std::vector<uint8_t> first(rewards.size() / 2);
  for (size_t i = 0; i < first.size(); ++i) first[i] = reward(2 * i) >= reward(2 * i + 1);
  return first;
}

void add_xpo_term(const PreferenceInputs& in, std::span<const uint8_t> reference_is_chosen, double alpha,
                  PreferenceLoss& loss) {
  CHECK(reference_is_chosen.size() == in.size() && loss.pairs.size() == in.size());
  const double pairs =
      std::max<double>(1, static_cast<double>(in.pairs > 0 ? in.pairs : static_cast<int64_t>(in.size())));
  for (size_t i = 0; i < in.size(); ++i) {
    const size_t row = 2 * i + (reference_is_chosen[i] ? 0 : 1);
    loss.pairs[i].loss += alpha * row_sum(in.rows, in.logprobs, row) / pairs;
    add_to_row(in.rows, row, alpha / pairs, loss.d_logprobs);
  }
}

NashLoss nash_md_loss(const NashInputs& in, double beta) {
  CHECK(in.win_probabilities.size() == in.rows.size() && in.logprobs.size() == in.rows.tokens());
  CHECK(in.reference_logprobs.size() == in.rows.tokens());
  const int64_t rows = in.step_rows > 0 ? in.step_rows : static_cast<int64_t>(in.rows.size());
  const double divisor = std::max<double>(1, static_cast<double>(rows));
  NashLoss out;
  out.d_logprobs.assign(in.rows.tokens(), 0.0);
  for (size_t i = 0; i < in.rows.size(); ++i) {
    const double advantage = in.win_probabilities[i] - 0.5;
    for (size_t t = in.rows.begin(i); t < in.rows.end(i); ++t) {
      if (!in.rows.counts(t)) continue;
      const double log_ratio = in.logprobs[t] - in.reference_logprobs[t];
      out.loss += (beta * log_ratio - advantage) * in.logprobs[t] / divisor;
      out.score += advantage * in.logprobs[t] / divisor;
      out.kl += log_ratio / divisor;
      out.d_logprobs[t] = (beta * log_ratio - advantage) / divisor;
    }
  }
  return out;
}

}  // namespace candor::algorithms
