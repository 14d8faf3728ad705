// Estimators of KL(policy ‖ reference) from the log-probabilities of the tokens that were taken, in nats (Schulman
// 2020, "Approximating KL divergence"), and the KL term in the reward.
//
// Each estimator has its own name wherever it is logged, since they differ in value (k1 may be negative) and, as
// losses, in gradient: on-policy k2's is the reverse KL's per token, k3's is not.
#pragma once

#include <span>
#include <vector>

#include "algorithms/ragged.h"

namespace candor::algorithms {

// With d = logprob - reference_logprob: k1 = d, k2 = d²/2, k3 = e^(-d) + d - 1.
struct KlEstimates {
  double k1 = 0, k2 = 0, k3 = 0;
};
KlEstimates kl_estimates(double logprob, double reference_logprob);

// [N]: k1 summed over each row's counted tokens, the sequence's log-ratio; 0 for a row without counted tokens. Times
// beta and subtracted from the row's reward (group_advantages does that) it is the unbiased reverse-KL objective.
std::vector<double> row_kl_k1(const RaggedRows& rows, std::span<const double> logprobs,
                              std::span<const double> reference_logprobs);

// The next coefficient of the adaptive controller (arXiv 1909.08593): beta·(1 + e·samples/horizon) with
// e = kl/target - 1 clipped to ±0.2; `samples` were drawn since the last update. target and horizon are above 0.
double adapted_kl_coefficient(double beta, double kl, double target, double samples, double horizon);

}  // namespace candor::algorithms
