#include "algorithms/policy_terms.h"

#include <algorithm>
#include <cmath>

#include "base/math.h"

namespace candor::algorithms {

namespace {

constexpr double kSmallestVespoLambda = 1e-4;

// -min(min(ρ, δ)·A, clip(ρ, 1-ε, 1+ε_h)·A).
Term clipped_term(double ratio, double advantage, const GrpoOptions& o) {
  const double low = 1.0 - o.epsilon, high = 1.0 + epsilon_high(o);
  const bool above_delta = o.delta && ratio > *o.delta;
  const double plain = (above_delta ? *o.delta : ratio) * advantage;
  const double clipped = std::clamp(ratio, low, high) * advantage;
  const double d_plain = above_delta ? 0.0 : ratio * advantage;
  const double d_clipped = ratio < low || ratio > high ? 0.0 : ratio * advantage;
  if (plain < clipped) return {-plain, -d_plain};
  if (clipped < plain) return {-clipped, -d_clipped};
  return {-plain, -0.5 * (d_plain + d_clipped)};
}

// -sg(min(ρ, ε_high))·A·logprob: the ratio is a constant weight.
Term cispo_term(double ratio, double advantage, double logprob, const GrpoOptions& o) {
  const double weight = std::min(ratio, epsilon_high(o)) * advantage;
  return {-weight * logprob, 0.0, -weight};
}

// -A·(4/τ)·σ(τ(ρ-1)), a soft gate instead of a clip.
Term sapo_term(double ratio, double advantage, const GrpoOptions& o) {
  const double tau = advantage > 0 ? o.sapo_temperature_pos : o.sapo_temperature_neg;
  const double gate = 1.0 / (1.0 + exact_exp(-tau * (ratio - 1.0)));
  const double slope = gate * (1.0 - gate);
  return {-advantage * 4.0 / tau * gate, slope == 0.0 ? 0.0 : -4.0 * advantage * ratio * slope};
}

// k3 = e^d - d - 1 with d = reference - logprob, within its bounds; on a bound the derivative passes, as in torch.
Term bounded_k3(double d, const GrpoOptions& o) {
  const double most = o.k3_log_ratio_clamp.value_or(INFINITY);
  const double within = std::clamp(d, -most, most);
  const double k3 = exact_exp(within) - within - 1.0, slope = std::abs(d) > most ? 0.0 : 1.0 - exact_exp(within);
  if (o.k3_clamp && k3 > *o.k3_clamp) return {*o.k3_clamp, 0.0, 0.0};
  return {k3, 0.0, slope};
}

}  // namespace

double epsilon_high(const GrpoOptions& o) {
  return o.epsilon_high.value_or(o.epsilon);
}

Term policy_term(double ratio, double advantage, double logprob, const GrpoOptions& o) {
  switch (o.loss_type) {
    case LossType::kCispo:
      return cispo_term(ratio, advantage, logprob, o);
    case LossType::kSapo:
      return sapo_term(ratio, advantage, o);
    default:
      return clipped_term(ratio, advantage, o);
  }
}

double vespo_weight(double row_log_ratio, double advantage, const GrpoOptions& o) {
  const double k = advantage >= 0 ? o.vespo_k_pos : o.vespo_k_neg;
  const double lambda = std::max(advantage >= 0 ? o.vespo_lambda_pos : o.vespo_lambda_neg, kSmallestVespoLambda);
  return exact_exp(lambda + k * row_log_ratio - lambda * exact_exp(row_log_ratio));
}

double gmpo_clipped(double log_ratio, double advantage, const GrpoOptions& o) {
  return advantage > 0 ? std::min(log_ratio, epsilon_high(o)) : std::max(log_ratio, -o.epsilon);
}

Term kl_term(double ratio, double logprob, double reference, const KlEstimates& kl, const GrpoOptions& o) {
  if (o.kl_in_loss == KlInLoss::kK1) return {kl.k1, 0.0, 1.0};
  if (o.kl_in_loss == KlInLoss::kK2) return {kl.k2, 0.0, kl.k1};
  const Term k3 = bounded_k3(reference - logprob, o);
  if (o.kl_in_loss == KlInLoss::kK3) return k3;
  return {ratio * k3.value, ratio * k3.value, ratio * k3.d_logprob};
}

void count_clipped(double ratio, double advantage, const GrpoOptions& o, GrpoRow& row) {
  if (o.loss_type == LossType::kSapo || o.loss_type == LossType::kVespo) return;
  ++row.ratios;
  if (o.loss_type == LossType::kCispo) {
    row.clipped_high += advantage > 0 && ratio > epsilon_high(o);
    return;
  }
  if (o.delta) ratio = std::min(ratio, *o.delta);
  row.clipped_low += advantage < 0 && ratio < 1.0 - o.epsilon;
  row.clipped_high += advantage > 0 && ratio > 1.0 + epsilon_high(o);
}

}  // namespace candor::algorithms
