#include "algorithms/ppo.h"

#include <algorithm>
#include <cmath>

#include "algorithms/kl.h"
#include "algorithms/policy_terms.h"
#include "base/check.h"
#include "base/math.h"

namespace candor::algorithms {

namespace {

constexpr double kVarianceOffset = 1e-8;

void check_rows(const PpoRows& rows) {
  CHECK(rows.tokens.size() == rows.values.size() && rows.tokens.mask.empty() && rows.values.mask.empty());
  for (size_t i = 0; i < rows.tokens.size(); ++i) {
    const size_t tokens = rows.tokens.end(i) - rows.tokens.begin(i), values = rows.values.end(i) - rows.values.begin(i);
    CHECK(values == tokens || values == tokens + 1);
  }
}

double divisor(int64_t given, size_t counted) {
  return std::max<double>(1, static_cast<double>(given > 0 ? given : static_cast<int64_t>(counted)));
}

void add_policy(const PpoInputs& in, const GrpoOptions& clip, size_t i, double tokens, PpoLoss& out) {
  PpoRow& row = out.rows[i];
  for (size_t t = in.rows.tokens.begin(i); t < in.rows.tokens.end(i); ++t) {
    const double log_ratio = in.logprobs[t] - in.old_logprobs[t], ratio = exact_exp(log_ratio);
    const Term term = policy_term(ratio, in.advantages[t], in.logprobs[t], clip);
    row.policy_loss += term.value / tokens;
    out.d_logprobs[t] = term.d_log_ratio / tokens;
    row.approx_kl += 0.5 * log_ratio * log_ratio;
    row.ratio += ratio;
    row.ratio_spread += (ratio - 1.0) * (ratio - 1.0);
    row.clipped += term.value > -in.advantages[t] * ratio;
    ++row.tokens;
  }
}

void add_value(const PpoInputs& in, const PpoOptions& o, size_t i, double values, PpoLoss& out) {
  PpoRow& row = out.rows[i];
  for (size_t t = in.rows.values.begin(i); t < in.rows.values.end(i); ++t) {
    const double low = in.old_values[t] - o.cliprange_value, high = in.old_values[t] + o.cliprange_value;
    const double gap = in.values[t] - in.returns[t];
    const double clipped_gap = std::clamp(in.values[t], low, high) - in.returns[t];
    const bool inside = in.values[t] >= low && in.values[t] <= high;
    const bool clipped = clipped_gap * clipped_gap > gap * gap;
    row.value_loss += 0.5 * (clipped ? clipped_gap * clipped_gap : gap * gap) / values;
    const double slope = clipped ? (inside ? clipped_gap : 0.0) : gap;
    out.d_values[t] = o.vf_coef * slope / values;
    row.clipped_values += clipped;
    ++row.values;
  }
}

}  // namespace

PpoRewards ppo_rewards(const PpoRows& rows, std::span<const double> old_logprobs,
                       std::span<const double> reference_logprobs, std::span<const double> scores,
                       std::span<const uint8_t> ended, const PpoRewardOptions& o) {
  check_rows(rows);
  const size_t n = rows.tokens.size();
  CHECK(old_logprobs.size() == rows.tokens.tokens() && reference_logprobs.size() == rows.tokens.tokens());
  CHECK(scores.size() == n && ended.size() == n);
  PpoRewards out;
  out.rewards.assign(rows.values.tokens(), 0.0);
  out.kl.assign(n, 0.0);
  for (size_t i = 0; i < n; ++i) {
    out.scores.push_back(scores[i] - (ended[i] ? 0.0 : o.missing_eos_penalty));
    const size_t first_value = rows.values.begin(i), first_token = rows.tokens.begin(i);
    for (size_t t = first_token; t < rows.tokens.end(i); ++t) {
      const KlEstimates estimates = kl_estimates(old_logprobs[t], reference_logprobs[t]);
      const double kl = o.k3 ? estimates.k3 : estimates.k1;
      out.rewards[first_value + t - first_token] = -o.kl_coef * kl;
      out.kl[i] += kl;
    }
    if (rows.values.end(i) > first_value) out.rewards[rows.values.end(i) - 1] += out.scores[i];
  }
  return out;
}

std::vector<double> whitened(std::span<const double> values, bool keep_mean) {
  std::vector<double> out(values.begin(), values.end());
  if (values.empty()) return out;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (*low == *high) {  // rounding in the mean would leave a residue that 1e-4 = √1e-8 blows up
    std::fill(out.begin(), out.end(), keep_mean ? *low : 0.0);
    return out;
  }
  const double n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (double y : values) sum += y;
  const double mean = sum / n;
  for (double y : values) squares += (y - mean) * (y - mean);
  const double scale = 1.0 / std::sqrt(squares / (n - 1.0) + kVarianceOffset);
  for (double& y : out) y = (y - mean) * scale + (keep_mean ? mean : 0.0);
  return out;
}

PpoAdvantages gae(const PpoRows& rows, std::span<const double> rewards, std::span<const double> old_values,
                  double gamma, double lambda) {
  check_rows(rows);
  CHECK(rewards.size() == rows.values.tokens() && old_values.size() == rows.values.tokens());
  PpoAdvantages out;
  out.advantages.assign(rows.tokens.tokens(), 0.0);
  out.returns.assign(rows.values.tokens(), 0.0);
  for (size_t i = 0; i < rows.tokens.size(); ++i) {
    const size_t first_value = rows.values.begin(i), first_token = rows.tokens.begin(i);
    const size_t tokens = rows.tokens.end(i) - first_token;
    double advantage = 0, next_value = 0;
    for (size_t t = rows.values.end(i); t-- > first_value;) {
      advantage = rewards[t] + gamma * next_value - old_values[t] + gamma * lambda * advantage;
      next_value = old_values[t];
      out.returns[t] = advantage + old_values[t];
      if (t - first_value < tokens) out.advantages[first_token + t - first_value] = advantage;
    }
  }
  return out;
}

double PpoLoss::loss(double vf_coef) const {
  double policy = 0, value = 0;
  for (const PpoRow& row : rows) {
    policy += row.policy_loss;
    value += row.value_loss;
  }
  return policy + vf_coef * value;
}

PpoLoss ppo_loss(const PpoInputs& in, const PpoOptions& o) {
  check_rows(in.rows);
  const size_t tokens = in.rows.tokens.tokens(), values = in.rows.values.tokens();
  const bool policy = !in.logprobs.empty(), critic = !in.values.empty();
  const size_t policy_tokens = policy ? tokens : 0, critic_values = critic ? values : 0;
  CHECK(in.logprobs.size() == policy_tokens && in.old_logprobs.size() == policy_tokens &&
        in.advantages.size() == policy_tokens);
  CHECK(in.values.size() == critic_values && in.old_values.size() == critic_values &&
        in.returns.size() == critic_values);
  GrpoOptions clip;
  clip.loss_type = LossType::kGrpo;
  clip.epsilon = o.cliprange;
  PpoLoss out;
  out.rows.resize(in.rows.tokens.size());
  out.d_logprobs.assign(policy_tokens, 0.0);
  out.d_values.assign(critic_values, 0.0);
  for (size_t i = 0; i < out.rows.size(); ++i) {
    if (policy) add_policy(in, clip, i, divisor(in.mini_batch_tokens, tokens), out);
    if (critic) add_value(in, o, i, divisor(in.mini_batch_values, values), out);
  }
  return out;
}

PpoRow& PpoRow::operator+=(const PpoRow& other) {
  policy_loss += other.policy_loss;
  value_loss += other.value_loss;
  tokens += other.tokens;
  values += other.values;
  approx_kl += other.approx_kl;
  ratio += other.ratio;
  ratio_spread += other.ratio_spread;
  clipped += other.clipped;
  clipped_values += other.clipped_values;
  return *this;
}

Metrics ppo_metrics(std::span<const PpoRow> rows) {
  PpoRow sum;
  for (const PpoRow& row : rows) sum += row;
  const double tokens = std::max<double>(1, static_cast<double>(sum.tokens));
  const double values = std::max<double>(1, static_cast<double>(sum.values));
  const double mean_ratio = sum.ratio / tokens;
  return {{"loss/policy_avg", sum.policy_loss},
          {"loss/value_avg", sum.value_loss},
          {"policy/approxkl_avg", sum.approx_kl / tokens},
          {"policy/clipfrac_avg", static_cast<double>(sum.clipped) / tokens},
          {"val/clipfrac_avg", static_cast<double>(sum.clipped_values) / values},
          {"val/ratio", mean_ratio},
          {"val/ratio_var", sum.ratio_spread / tokens - (mean_ratio - 1.0) * (mean_ratio - 1.0)}};
}

}  // namespace candor::algorithms
