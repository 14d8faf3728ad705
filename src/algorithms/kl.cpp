#include "algorithms/kl.h"

#include <algorithm>

#include "base/check.h"
#include "base/math.h"

namespace candor::algorithms {

KlEstimates kl_estimates(double logprob, double reference_logprob) {
  const double d = logprob - reference_logprob;
  return {d, 0.5 * d * d, exact_exp(-d) + d - 1.0};
}

std::vector<double> row_kl_k1(const RaggedRows& rows, std::span<const double> logprobs,
                              std::span<const double> reference_logprobs) {
  CHECK(logprobs.size() == rows.tokens() && reference_logprobs.size() == rows.tokens());
  std::vector<double> kl(rows.size(), 0.0);
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t t = rows.begin(i); t < rows.end(i); ++t)
      if (rows.counts(t)) kl[i] += logprobs[t] - reference_logprobs[t];
  return kl;
}

double adapted_kl_coefficient(double beta, double kl, double target, double samples, double horizon) {
  CHECK(target > 0 && horizon > 0);
  return beta * (1.0 + std::clamp(kl / target - 1.0, -0.2, 0.2) * samples / horizon);
}

}  // namespace candor::algorithms
