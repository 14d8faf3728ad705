#include "algorithms/dpo.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/math.h"

namespace candor::algorithms {

namespace {

bool is_aot(DpoType type) {
  return type == DpoType::kAot || type == DpoType::kAotUnpaired;
}

bool has_divergence(DpoType type) {
  return type <= DpoType::kDiscopop;
}

// [tokens]: what a counted token weighs in its row's sums.
std::vector<double> discounts(const RaggedRows& rows, double ld_alpha) {
  std::vector<double> weights(rows.tokens(), 1.0);
  for (size_t i = 0; i < rows.size(); i += 2) {
    const int64_t shorter = std::min(rows.counted(i), rows.counted(i + 1));
    for (size_t row = i; row < i + 2; ++row) {
      int64_t seen = 0;
      for (size_t t = rows.begin(row); t < rows.end(row); ++t)
        if (rows.counts(t) && ++seen > shorter) weights[t] = ld_alpha;
    }
  }
  return weights;
}

double weighted_row_sum(const RaggedRows& rows, std::span<const double> values, std::span<const double> weights,
                        size_t row) {
  if (weights.empty()) return row_sum(rows, values, row);
  double sum = 0;
  for (size_t t = rows.begin(row); t < rows.end(row) && !values.empty(); ++t)
    if (rows.counts(t)) sum += weights[t] * values[t];
  return sum;
}

// WPO's weight of a row: the geometric mean of p / Σ_v p_v², 1 where nothing counts.
double wpo_weight(const PreferenceInputs& in, size_t row) {
  const double sum = row_sum(in.rows, in.logprobs, row) - row_sum(in.rows, in.log_sum_sq_probs, row);
  return exact_exp(sum / static_cast<double>(std::max<int64_t>(in.rows.counted(row), 1)));
}

// What a list of losses reads of all rows: Σ logprob and Σ reference of each, with their weights.
struct RowScores {
  std::vector<double> policy, reference;
  double log_ratio(size_t row) const { return policy[row] - reference[row]; }
};

std::vector<size_t> sorted_order(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) { return values[i] < values[j]; });
  return order;
}

// Optimal transport in one dimension: the i-th smallest is held against the i-th smallest.
std::vector<PairTerm> aot_terms(DpoType type, const RowScores& scores, const DpoOptions& o) {
  const size_t pairs = scores.policy.size() / 2;
  std::vector<double> above(pairs), below(pairs);
  for (size_t i = 0; i < pairs; ++i) {
    const size_t chosen = 2 * i, rejected = chosen + 1;
    const bool paired = type == DpoType::kAot;
    above[i] = paired ? scores.policy[chosen] - scores.policy[rejected] : scores.log_ratio(chosen);
    below[i] = paired ? scores.reference[chosen] - scores.reference[rejected] : scores.log_ratio(rejected);
  }
  const auto above_order = sorted_order(above), below_order = sorted_order(below);
  std::vector<PairTerm> terms(pairs);
  for (size_t rank = 0; rank < pairs; ++rank) {
    const size_t i = above_order[rank], j = below_order[rank];
    const Curve loss = smoothed_neg_log_sigmoid(o.beta * (above[i] - below[j]), o.label_smoothing);
    terms[i].loss = loss.value;
    terms[i].d_chosen = o.beta * loss.slope;
    terms[type == DpoType::kAot ? i : j].d_rejected = -o.beta * loss.slope;
  }
  return terms;
}

std::vector<PairTerm> terms_of(DpoType type, const PreferenceInputs& in, const RowScores& scores, const DpoOptions& o) {
  if (is_aot(type)) return aot_terms(type, scores, o);
  const auto length = [&](size_t row) {
    return static_cast<double>(std::max<int64_t>(in.lengths.empty() ? in.rows.counted(row) : in.lengths[row], 1));
  };
  std::vector<PairTerm> terms(in.size());
  for (size_t i = 0; i < in.size(); ++i)
    terms[i] = dpo_pair_term(
        type, {scores.log_ratio(2 * i), scores.log_ratio(2 * i + 1), length(2 * i), length(2 * i + 1)}, o);
  return terms;
}

// The likelihood of the chosen rows, without discounts.
void add_sft(const PreferenceInputs& in, double weight, double chosen_tokens, PreferenceLoss& out) {
  for (size_t i = 0; i < in.size(); ++i) {
    out.pairs[i].loss += weight * out.pairs[i].chosen_nll / chosen_tokens;
    add_to_row(in.rows, 2 * i, -weight / chosen_tokens, out.d_logprobs);
  }
}

}  // namespace

Result<void> check(const DpoOptions& o) {
  if (!(o.beta > 0)) return error("beta is {}; it must be above 0.", o.beta);
  if (!(o.label_smoothing >= 0 && o.label_smoothing < 1))
    return error("label_smoothing is {}; it must be at least 0 and below 1.", o.label_smoothing);
  if (o.ld_alpha && !(*o.ld_alpha >= 0 && *o.ld_alpha <= 1))
    return error("ld_alpha is {}; it must be from 0 to 1.", *o.ld_alpha);
  if (o.losses.empty()) return error("loss_type is empty; give at least one loss.");
  for (const auto& [type, weight] : o.losses) {
    if (type == DpoType::kExoPair && o.label_smoothing == 0)
      return error("loss_type exo_pair needs a label_smoothing above 0, since it divides by it; 0.001 is usual.");
    if (type == DpoType::kRobust && o.label_smoothing >= 0.5)
      return error("loss_type robust needs a label_smoothing below 0.5; it is {}.", o.label_smoothing);
    if (type == DpoType::kDiscopop && !(o.discopop_tau > 0))
      return error("discopop_tau is {}; it must be above 0.", o.discopop_tau);
    if (o.f_divergence != Divergence::kReverseKl && !has_divergence(type) && type != DpoType::kSft)
      return error("this loss_type is defined for f_divergence_type reverse_kl only.");
    if (o.use_weighting && (is_aot(type) || type == DpoType::kHinge || type == DpoType::kSft))
      return error("use_weighting cannot be used with loss_type aot, aot_unpaired, hinge or sft.");
  }
  return {};
}

Result<PreferenceLoss> dpo_loss(const PreferenceInputs& in, const DpoOptions& o) {
  PreferenceLoss out = measured_pairs(in);
  const double pairs = static_cast<double>(in.pairs > 0 ? in.pairs : static_cast<int64_t>(in.size()));
  const std::vector<double> weights = o.ld_alpha ? discounts(in.rows, *o.ld_alpha) : std::vector<double>();
  RowScores scores;
  for (size_t row = 0; row < in.rows.size(); ++row) {
    scores.policy.push_back(weighted_row_sum(in.rows, in.logprobs, weights, row));
    scores.reference.push_back(weighted_row_sum(in.rows, in.reference_logprobs, weights, row));
  }
  int64_t chosen_tokens = in.chosen_tokens;
  for (size_t i = 0; i < in.size(); ++i) {
    PreferencePair& pair = out.pairs[i];
    pair.chosen_logps = scores.policy[2 * i];
    pair.rejected_logps = scores.policy[2 * i + 1];
    pair.chosen_reward = o.beta * scores.log_ratio(2 * i);
    pair.rejected_reward = o.beta * scores.log_ratio(2 * i + 1);
    if (in.chosen_tokens == 0) chosen_tokens += pair.chosen_tokens;
  }

  std::vector<double> slopes(in.rows.size(), 0.0);  // d loss / d score of each row
  for (const auto& [type, weight] : o.losses) {
    if (type == DpoType::kSft) {
      if (chosen_tokens == 0) return error("loss_type sft: no token of a chosen completion counts in this batch.");
      add_sft(in, weight, static_cast<double>(chosen_tokens), out);
      continue;
    }
    const std::vector<PairTerm> terms = terms_of(type, in, scores, o);
    for (size_t i = 0; i < in.size(); ++i) {
      const double wpo = o.use_weighting ? wpo_weight(in, 2 * i) * wpo_weight(in, 2 * i + 1) : 1.0;
      const double share = weight * wpo / pairs;
      out.pairs[i].loss += share * terms[i].loss;
      slopes[2 * i] += share * terms[i].d_chosen;
      slopes[2 * i + 1] += share * terms[i].d_rejected;
    }
  }
  for (size_t row = 0; row < in.rows.size(); ++row)
    for (size_t t = in.rows.begin(row); t < in.rows.end(row); ++t)
      if (in.rows.counts(t)) out.d_logprobs[t] += slopes[row] * (weights.empty() ? 1.0 : weights[t]);
  return out;
}

}  // namespace candor::algorithms
