#include "algorithms/sft.h"

#include <algorithm>

#include "base/check.h"
#include "base/math.h"

namespace candor::algorithms {

double SftLoss::loss() const {
  double sum = 0;
  for (const SftRow& row : rows) sum += row.loss;
  return sum;
}

SftLoss sft_loss(const SftInputs& in, SftLossType type) {
  const size_t tokens = in.rows.tokens();
  CHECK(in.logprobs.size() == tokens && (in.rows.mask.empty() || in.rows.mask.size() == tokens));
  CHECK((in.entropies.empty() || in.entropies.size() == tokens) && (in.correct.empty() || in.correct.size() == tokens));
  const double smoothing = in.label_smoothing;
  CHECK(smoothing == 0 || (type == SftLossType::kNll && in.mean_logprobs.size() == tokens));
  const double divisor = static_cast<double>(std::max<int64_t>(in.label_tokens, 1));
  SftLoss out;
  out.rows.resize(in.rows.size());
  out.d_logprobs.assign(tokens, 0.0);
  if (smoothing != 0) out.d_mean_logprobs.assign(tokens, 0.0);
  for (size_t i = 0; i < in.rows.size(); ++i) {
    SftRow& row = out.rows[i];
    double sum = 0;
    for (size_t t = in.rows.begin(i); t < in.rows.end(i); ++t) {
      if (!in.rows.counts(t)) continue;
      const double weight = type == SftLossType::kDft ? exact_exp(in.logprobs[t]) : 1.0 - smoothing;
      sum -= weight * in.logprobs[t];
      out.d_logprobs[t] = -weight / divisor;
      if (smoothing != 0) {
        sum -= smoothing * in.mean_logprobs[t];
        out.d_mean_logprobs[t] = -smoothing / divisor;
      }
      row.nll -= in.logprobs[t];
      if (!in.entropies.empty()) row.entropy += in.entropies[t];
      if (!in.correct.empty()) row.correct += in.correct[t];
      ++row.tokens;
    }
    row.loss = sum / divisor;
  }
  return out;
}

Metrics sft_metrics(std::span<const SftRow> rows) {
  SftRow sum;
  for (const SftRow& row : rows) {
    sum.tokens += row.tokens;
    sum.entropy += row.entropy;
    sum.correct += row.correct;
  }
  const double count = static_cast<double>(std::max<int64_t>(sum.tokens, 1));
  return {{"entropy", sum.entropy / count}, {"mean_token_accuracy", static_cast<double>(sum.correct) / count}};
}

}  // namespace candor::algorithms
