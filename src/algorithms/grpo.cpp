#include "algorithms/grpo.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "algorithms/kl.h"
#include "base/check.h"
#include "base/math.h"

namespace candor::algorithms {

namespace {

// One token's term: its value, its derivative with respect to the log-ratio w (the token's or the row's), and the one
// that goes straight to the token's log-probability.
struct Term {
  double value = 0, d_log_ratio = 0, d_logprob = 0;
};

double epsilon_high(const GrpoOptions& o) {
  return o.epsilon_high.value_or(o.epsilon);
}

// -min(min(ρ, δ)·A, clip(ρ, 1-ε, 1+ε_high)·A).
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

// The KL estimator of the loss; ρ is the chosen level's, before clip and delta.
Term kl_term(double ratio, double logprob, double reference, const KlEstimates& kl, KlInLoss kind) {
  if (kind == KlInLoss::kK2) return {kl.k2, 0.0, kl.k1};
  const double d_k3 = 1.0 - exact_exp(reference - logprob);
  if (kind == KlInLoss::kK3) return {kl.k3, 0.0, d_k3};
  return {ratio * kl.k3, ratio * kl.k3, ratio * d_k3};
}

// Adds to the row's counts whether its ratio is outside the clip: strictly, and after delta's cut, as TRL counts.
void count_clipped(double ratio, double advantage, const GrpoOptions& o, GrpoRow& row) {
  if (o.loss_type == LossType::kSapo) return;
  ++row.ratios;
  if (o.loss_type == LossType::kCispo) {
    row.clipped_high += advantage > 0 && ratio > epsilon_high(o);
    return;
  }
  if (o.delta) ratio = std::min(ratio, *o.delta);
  row.clipped_low += advantage < 0 && ratio < 1.0 - o.epsilon;
  row.clipped_high += advantage > 0 && ratio > 1.0 + epsilon_high(o);
}

// Mean log-ratio of the row's counted tokens, 0 without any.
double sequence_log_ratio(const GrpoInputs& in, size_t row) {
  double sum = 0;
  for (size_t t = in.rows.begin(row); t < in.rows.end(row); ++t)
    if (in.rows.counts(t)) sum += in.logprobs[t] - in.old_logprobs[t];
  return sum / static_cast<double>(std::max<int64_t>(in.rows.counted(row), 1));
}

// Whether the row's mean of (behaviour - policy) log-probability is above the threshold. A token for which the sampler
// gave no number (NaN) adds 0.
bool is_off_policy(const GrpoInputs& in, const GrpoOptions& o, size_t row) {
  const auto behaviour = in.off_policy_logprobs.empty() ? in.old_logprobs : in.off_policy_logprobs;
  if (!o.off_policy_mask_threshold || behaviour.empty()) return false;
  double sum = 0;
  for (size_t t = in.rows.begin(row); t < in.rows.end(row); ++t)
    if (in.rows.counts(t) && !std::isnan(behaviour[t])) sum += behaviour[t] - in.logprobs[t];
  return sum / static_cast<double>(std::max<int64_t>(in.rows.counted(row), 1)) > *o.off_policy_mask_threshold;
}

void add_kl(const GrpoInputs& in, const GrpoOptions& o, size_t t, double ratio, Term& term, GrpoRow& row) {
  if (in.reference_logprobs.empty()) return;
  const KlEstimates kl = kl_estimates(in.logprobs[t], in.reference_logprobs[t]);
  const Term penalty = kl_term(ratio, in.logprobs[t], in.reference_logprobs[t], kl, o.kl_in_loss);
  row.kl += penalty.value;
  row.kl_k1 += kl.k1;
  row.kl_k2 += kl.k2;
  row.kl_k3 += kl.k3;
  if (o.beta == 0) return;
  term.value += o.beta * penalty.value;
  term.d_log_ratio += o.beta * penalty.d_log_ratio;
  term.d_logprob += o.beta * penalty.d_logprob;
}

void add_entropy(const GrpoInputs& in, size_t i, size_t t, GrpoRow& row, std::vector<double>& d_entropies) {
  if (in.entropies.empty()) return;
  row.entropy += in.entropies[t];
  if (in.entropy_weights.empty() || (!in.policy_mask.empty() && !in.policy_mask[t])) return;
  row.loss -= in.entropy_weights[i] * in.entropies[t];
  d_entropies[t] = -in.entropy_weights[i];
}

void add_row(const GrpoInputs& in, const GrpoOptions& o, size_t i, GrpoLoss& out) {
  GrpoRow& row = out.rows[i];
  row.tokens = in.rows.counted(i);
  const bool sequence = o.importance_sampling_level == RatioLevel::kSequence;
  const double row_log_ratio = sequence && !in.old_logprobs.empty() ? sequence_log_ratio(in, i) : 0.0;
  const bool off_policy = is_off_policy(in, o, i);
  const double weight = in.row_weights[i];
  if (sequence && in.token_advantages.empty()) count_clipped(exact_exp(row_log_ratio), in.advantages[i], o, row);

  double d_row_log_ratio = 0;
  for (size_t t = in.rows.begin(i); t < in.rows.end(i); ++t) {
    if (!in.rows.counts(t)) continue;
    const double advantage = in.token_advantages.empty() ? in.advantages[i] : in.token_advantages[t];
    const double token_log_ratio = in.old_logprobs.empty() ? 0.0 : in.logprobs[t] - in.old_logprobs[t];
    const double ratio = exact_exp(sequence ? row_log_ratio : token_log_ratio);
    if (!sequence || !in.token_advantages.empty()) count_clipped(ratio, advantage, o, row);

    Term term;
    const bool kept = in.policy_mask.empty() || in.policy_mask[t];
    if (kept && !(off_policy && advantage < 0)) {
      term = policy_term(ratio, advantage, in.logprobs[t], o);
      const double correction = in.sampler_correction.empty() ? 1.0 : in.sampler_correction[t];
      term = {correction * term.value, correction * term.d_log_ratio, correction * term.d_logprob};
    }
    add_kl(in, o, t, ratio, term, row);
    row.loss += weight * term.value;
    out.d_logprobs[t] = weight * (sequence ? term.d_logprob : term.d_logprob + term.d_log_ratio);
    d_row_log_ratio += term.d_log_ratio;
    add_entropy(in, i, t, row, out.d_entropies);
  }
  if (!sequence || row.tokens == 0) return;
  const double share = weight * d_row_log_ratio / static_cast<double>(row.tokens);
  for (size_t t = in.rows.begin(i); t < in.rows.end(i); ++t)
    if (in.rows.counts(t)) out.d_logprobs[t] += share;
}

void check_shapes(const GrpoInputs& in, const GrpoOptions& o) {
  const size_t tokens = in.rows.tokens(), n = in.rows.size();
  auto is = [](size_t size, size_t expected) { return size == expected; };
  auto is_or_empty = [](size_t size, size_t expected) { return size == 0 || size == expected; };
  CHECK(is(in.logprobs.size(), tokens) && is_or_empty(in.old_logprobs.size(), tokens));
  CHECK(is_or_empty(in.reference_logprobs.size(), tokens) && is_or_empty(in.entropies.size(), tokens));
  CHECK(is_or_empty(in.rows.mask.size(), tokens) && is_or_empty(in.policy_mask.size(), tokens));
  CHECK(is_or_empty(in.sampler_correction.size(), tokens) && is_or_empty(in.off_policy_logprobs.size(), tokens));
  CHECK(is_or_empty(in.token_advantages.size(), tokens) && is_or_empty(in.entropy_weights.size(), n));
  CHECK(is(in.row_weights.size(), n) && (in.advantages.size() == n || (tokens > 0 && !in.token_advantages.empty())));
  CHECK(o.beta == 0 || tokens == 0 || !in.reference_logprobs.empty());
  CHECK(in.entropy_weights.empty() || tokens == 0 || !in.entropies.empty());
}

}  // namespace

double GrpoLoss::loss() const {
  double sum = 0;
  for (const GrpoRow& row : rows) sum += row.loss;
  return sum;
}

GrpoLoss grpo_loss(const GrpoInputs& inputs, const GrpoOptions& options) {
  check_shapes(inputs, options);
  GrpoLoss out;
  out.rows.resize(inputs.rows.size());
  out.d_logprobs.assign(inputs.rows.tokens(), 0.0);
  if (!inputs.entropy_weights.empty()) out.d_entropies.assign(inputs.rows.tokens(), 0.0);
  for (size_t i = 0; i < inputs.rows.size(); ++i) add_row(inputs, options, i, out);
  return out;
}

Metrics grpo_metrics(std::span<const GrpoRow> rows, const GrpoOptions& options, const GrpoMeasured& measured) {
  constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
  GrpoRow sum;
  double low_min = kUndefined, high_max = kUndefined;
  for (const GrpoRow& row : rows) {
    sum.tokens += row.tokens;
    sum.entropy += row.entropy;
    sum.kl += row.kl;
    sum.kl_k1 += row.kl_k1;
    sum.kl_k2 += row.kl_k2;
    sum.kl_k3 += row.kl_k3;
    sum.ratios += row.ratios;
    sum.clipped_low += row.clipped_low;
    sum.clipped_high += row.clipped_high;
    if (row.ratios == 0) continue;
    low_min = std::fmin(low_min, static_cast<double>(row.clipped_low) / static_cast<double>(row.ratios));
    high_max = std::fmax(high_max, static_cast<double>(row.clipped_high) / static_cast<double>(row.ratios));
  }
  auto mean = [](double total, int64_t count) { return total / static_cast<double>(std::max<int64_t>(count, 1)); };
  auto share = [&](int64_t clipped) { return mean(static_cast<double>(clipped), sum.ratios); };

  Metrics out;
  if (measured.entropies) out.push_back({"entropy", mean(sum.entropy, sum.tokens)});
  if (measured.reference) {
    out.push_back({"kl", mean(sum.kl, sum.tokens)});
    out.push_back({"kl_k1", mean(sum.kl_k1, sum.tokens)});
    out.push_back({"kl_k2", mean(sum.kl_k2, sum.tokens)});
    out.push_back({"kl_k3", mean(sum.kl_k3, sum.tokens)});
  }
  if (options.loss_type == LossType::kCispo) {
    out.push_back({"cispo_clip_ratio", share(sum.clipped_high)});
  } else if (options.loss_type != LossType::kSapo) {
    out.push_back({"clip_ratio/low_mean", share(sum.clipped_low)});
    out.push_back({"clip_ratio/low_min", low_min});
    out.push_back({"clip_ratio/high_mean", share(sum.clipped_high)});
    out.push_back({"clip_ratio/high_max", high_max});
    out.push_back({"clip_ratio/region_mean", share(sum.clipped_low + sum.clipped_high)});
  }
  return out;
}

}  // namespace candor::algorithms
