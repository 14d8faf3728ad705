#include "algorithms/sampler_correction.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/math.h"

namespace candor::algorithms {

std::vector<double> sampler_correction(const RaggedRows& rows, std::span<const double> old_logprobs,
                                       std::span<const double> sampling_logprobs, const SamplerCorrection& o) {
  using Mode = SamplerCorrectionMode;
  CHECK(old_logprobs.size() == rows.tokens() && sampling_logprobs.size() == rows.tokens());
  const bool sequence = o.mode == Mode::kSequenceTruncate || o.mode == Mode::kSequenceMask;
  const bool truncate = o.mode == Mode::kTokenTruncate || o.mode == Mode::kSequenceTruncate;
  const double low = o.min.value_or(-1.0), high = o.max.value_or(std::numeric_limits<double>::infinity());
  auto bounded = [&](double log_ratio) {
    const double ratio = exact_exp(log_ratio);
    if (truncate) return std::clamp(ratio, low, high);
    return ratio < low || ratio > high ? 0.0 : ratio;
  };
  std::vector<double> ratios(rows.tokens());
  for (size_t i = 0; i < rows.size(); ++i) {
    double sum = 0;
    for (size_t t = rows.begin(i); t < rows.end(i); ++t) {
      const bool known = rows.counts(t) && !std::isnan(sampling_logprobs[t]);
      const double log_ratio = known ? old_logprobs[t] - sampling_logprobs[t] : 0.0;
      sum += log_ratio;
      if (!sequence) ratios[t] = bounded(log_ratio);
    }
    if (sequence) std::fill(ratios.begin() + rows.begin(i), ratios.begin() + rows.end(i), bounded(sum));
  }
  return ratios;
}

}  // namespace candor::algorithms
