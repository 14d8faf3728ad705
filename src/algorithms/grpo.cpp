#include "algorithms/grpo.h"

#include <algorithm>
#include <cmath>

#include "algorithms/kl.h"
#include "algorithms/policy_terms.h"
#include "base/check.h"
#include "base/math.h"

namespace candor::algorithms {

namespace {

// What the sum of a row's log-ratios is divided by.
double sequence_divisor(const GrpoInputs& in, RatioLevel level, size_t row) {
  return level == RatioLevel::kSequenceSum ? 1.0 : static_cast<double>(std::max<int64_t>(in.rows.counted(row), 1));
}

// Log-ratio of the row's counted tokens, their mean or their sum; 0 without any.
double sequence_log_ratio(const GrpoInputs& in, RatioLevel level, size_t row) {
  double sum = 0;
  for (size_t t = in.rows.begin(row); t < in.rows.end(row); ++t)
    if (in.rows.counts(t)) sum += in.logprobs[t] - in.old_logprobs[t];
  return sum / sequence_divisor(in, level, row);
}

// VESPO's log-ratio of the whole row: the policy against the sampler, each token's part and the sum within bounds.
double vespo_log_ratio(const GrpoInputs& in, size_t row) {
  constexpr double kLowest = -18.420680743952367, kHighest = 20.0;  // log 1e-8
  double sum = 0;
  for (size_t t = in.rows.begin(row); t < in.rows.end(row); ++t) {
    if (!in.rows.counts(t)) continue;
    if (!in.old_logprobs.empty()) sum += std::clamp(in.logprobs[t] - in.old_logprobs[t], -kHighest, kHighest);
    if (in.sampler_correction.empty()) continue;
    const double r = in.sampler_correction[t];
    sum += r > 0 ? std::clamp(exact_log(r), kLowest, kHighest) : kLowest;
  }
  return std::clamp(sum, kLowest, kHighest);
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
  const Term penalty = kl_term(ratio, in.logprobs[t], in.reference_logprobs[t], kl, o);
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
  row.entropy_bonus += in.entropy_weights[i] * in.entropies[t];
  d_entropies[t] = -in.entropy_weights[i];
}

// GMPO's row: the geometric mean of the clipped ratios of its kept tokens, times the advantage. A row without a kept
// token has the mean 1 (so it adds the constant -weight·A, as in TRL). The KL is the mean over all counted tokens.
void add_gmpo_row(const GrpoInputs& in, const GrpoOptions& o, size_t i, GrpoLoss& out) {
  GrpoRow& row = out.rows[i];
  row.tokens = in.rows.counted(i);
  const double advantage = in.advantages[i], weight = in.row_weights[i];
  auto log_ratio = [&](size_t t) { return in.old_logprobs.empty() ? 0.0 : in.logprobs[t] - in.old_logprobs[t]; };
  auto kept = [&](size_t t) { return in.rows.counts(t) && (in.policy_mask.empty() || in.policy_mask[t]); };
  double sum = 0;
  int64_t kept_tokens = 0;
  for (size_t t = in.rows.begin(i); t < in.rows.end(i); ++t) {
    if (!kept(t)) continue;
    sum += gmpo_clipped(log_ratio(t), advantage, o);
    ++kept_tokens;
  }
  const double mean_of = 1.0 / static_cast<double>(std::max<int64_t>(kept_tokens, 1));
  const double mean_ratio = exact_exp(sum * mean_of);
  const bool off_policy = advantage < 0 && is_off_policy(in, o, i);
  if (!off_policy) row.loss -= weight * advantage * mean_ratio;

  const double kl_weight = weight / static_cast<double>(std::max<int64_t>(row.tokens, 1));
  for (size_t t = in.rows.begin(i); t < in.rows.end(i); ++t) {
    if (!in.rows.counts(t)) continue;
    const double w = log_ratio(t);
    ++row.ratios;
    row.clipped_low += advantage < 0 && w < -o.epsilon;
    row.clipped_high += advantage > 0 && w > epsilon_high(o);
    if (kept(t) && !off_policy && gmpo_clipped(w, advantage, o) == w)
      out.d_logprobs[t] = -weight * advantage * mean_ratio * mean_of;
    Term term;
    add_kl(in, o, t, exact_exp(w), term, row);
    row.loss += kl_weight * term.value;
    out.d_logprobs[t] += kl_weight * (term.d_logprob + term.d_log_ratio);
    add_entropy(in, i, t, row, out.d_entropies);
  }
}

void add_row(const GrpoInputs& in, const GrpoOptions& o, size_t i, GrpoLoss& out) {
  GrpoRow& row = out.rows[i];
  row.tokens = in.rows.counted(i);
  const bool sequence = o.importance_sampling_level != RatioLevel::kToken, vespo = o.loss_type == LossType::kVespo;
  const bool one_advantage = in.token_advantages.empty();
  const double row_log_ratio =
      sequence && !in.old_logprobs.empty() ? sequence_log_ratio(in, o.importance_sampling_level, i) : 0.0;
  const double vespo_ratio = vespo ? vespo_log_ratio(in, i) : 0.0;
  const bool off_policy = is_off_policy(in, o, i);
  const double weight = in.row_weights[i];
  if (sequence && one_advantage) count_clipped(exact_exp(row_log_ratio), in.advantages[i], o, row);
  if (vespo && one_advantage) {
    row.row_weights = vespo_weight(vespo_ratio, in.advantages[i], o);
    row.row_weight_count = 1;
  }

  double d_row_log_ratio = 0;
  for (size_t t = in.rows.begin(i); t < in.rows.end(i); ++t) {
    if (!in.rows.counts(t)) continue;
    const double advantage = one_advantage ? in.advantages[i] : in.token_advantages[t];
    const double token_log_ratio = in.old_logprobs.empty() ? 0.0 : in.logprobs[t] - in.old_logprobs[t];
    const double ratio = exact_exp(sequence ? row_log_ratio : token_log_ratio);
    if (!sequence || !one_advantage) count_clipped(ratio, advantage, o, row);
    const double phi = vespo ? vespo_weight(vespo_ratio, advantage, o) : 0.0;
    if (vespo && !one_advantage) {
      row.row_weights += phi;
      ++row.row_weight_count;
    }

    Term term;
    const bool kept = in.policy_mask.empty() || in.policy_mask[t];
    if (kept && !(off_policy && advantage < 0)) {
      if (vespo) {  // the sampler's ratio is inside φ
        term = {-phi * advantage * in.logprobs[t], 0.0, -phi * advantage};
      } else {
        term = policy_term(ratio, advantage, in.logprobs[t], o);
        const double correction = in.sampler_correction.empty() ? 1.0 : in.sampler_correction[t];
        term = {correction * term.value, correction * term.d_log_ratio, correction * term.d_logprob};
      }
    }
    add_kl(in, o, t, ratio, term, row);
    row.loss += weight * term.value;
    out.d_logprobs[t] = weight * (sequence ? term.d_logprob : term.d_logprob + term.d_log_ratio);
    d_row_log_ratio += term.d_log_ratio;
    add_entropy(in, i, t, row, out.d_entropies);
  }
  // The ratio of an empty row is 1: as a whole row it adds the constant -weight·A, as in TRL's RLOO.
  if (o.importance_sampling_level == RatioLevel::kSequenceSum && row.tokens == 0 && one_advantage)
    row.loss += weight * policy_term(1.0, in.advantages[i], 0.0, o).value;
  if (!sequence || row.tokens == 0) return;
  const double share = weight * d_row_log_ratio / sequence_divisor(in, o.importance_sampling_level, i);
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
  CHECK(o.loss_type != LossType::kGmpo || (in.token_advantages.empty() && in.sampler_correction.empty()));
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
  const auto add = options.loss_type == LossType::kGmpo ? add_gmpo_row : add_row;
  for (size_t i = 0; i < inputs.rows.size(); ++i) add(inputs, options, i, out);
  return out;
}

}  // namespace candor::algorithms
