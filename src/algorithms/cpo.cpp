#include "algorithms/cpo.h"

#include <algorithm>
#include <numbers>

#include "algorithms/logistic.h"
#include "base/math.h"

namespace candor::algorithms {

namespace {

struct Score {
  Curve of_sum;      // R as a function of the row's Σ logprob
  double plain = 0;  // R before AlphaPO
};

Score row_score(double sum, int64_t tokens, const CpoOptions& o) {
  const bool mean = o.type == CpoType::kIpo || o.type == CpoType::kSimpo;
  const double divisor = mean ? static_cast<double>(tokens) : 1.0;
  const double r = sum / divisor;
  if (o.alpha == 0) return {{r, 1.0 / divisor}, r};
  const double power = exact_exp(-o.alpha * r);
  return {{(1.0 - power) / o.alpha, power / divisor}, r};
}

Curve pair_loss(double d, const CpoOptions& o) {
  switch (o.type) {
    case CpoType::kSigmoid: {
      const Curve c = smoothed_neg_log_sigmoid(o.beta * d, o.label_smoothing);
      return {c.value, o.beta * c.slope};
    }
    case CpoType::kHinge: {
      const Curve c = hinge(o.beta * d);
      return {c.value, o.beta * c.slope};
    }
    case CpoType::kIpo: {
      const double gap = d - 1.0 / (2.0 * o.beta);
      return {gap * gap, 2.0 * gap};
    }
    case CpoType::kSimpo: {
      const Curve c = smoothed_neg_log_sigmoid(o.beta * d - o.simpo_gamma, o.label_smoothing);
      return {c.value, o.beta * c.slope};
    }
  }
  return {};
}

Result<void> every_row_counts(const PreferenceLoss& loss, std::string_view name) {
  for (size_t i = 0; i < loss.pairs.size(); ++i)
    if (loss.pairs[i].chosen_tokens == 0 || loss.pairs[i].rejected_tokens == 0)
      return error("{}: the {} completion of pair {} of the batch has no token, so it has no mean log-probability.",
                   name, loss.pairs[i].chosen_tokens == 0 ? "chosen" : "rejected", i + 1);
  return {};
}

// ln of the odds e^a / (1 - e^a); a < 0.
Curve log_odds(double a) {
  const double complement = -exact_expm1(a);  // 1 - e^a
  const double log_complement = a > -std::numbers::ln2 ? exact_log(complement) : exact_log1p(-exact_exp(a));
  return {a - log_complement, 1.0 / complement};
}

double divisor(int64_t of_step, int64_t of_these) {
  return static_cast<double>(std::max<int64_t>(of_step > 0 ? of_step : of_these, 1));
}

}  // namespace

Result<PreferenceLoss> cpo_loss(const PreferenceInputs& in, const CpoOptions& o) {
  PreferenceLoss out = measured_pairs(in);
  if (o.type == CpoType::kIpo || o.type == CpoType::kSimpo) TRY(every_row_counts(out, "cpo"));
  int64_t chosen_tokens = 0;
  for (const PreferencePair& pair : out.pairs) chosen_tokens += pair.chosen_tokens;
  const double pairs = divisor(in.pairs, static_cast<int64_t>(in.size()));
  const double nll_weight = o.cpo_alpha / divisor(in.chosen_tokens, chosen_tokens);
  for (size_t i = 0; i < in.size(); ++i) {
    PreferencePair& pair = out.pairs[i];
    const Score chosen = row_score(-pair.chosen_nll, pair.chosen_tokens, o);
    const Score rejected = row_score(row_sum(in.rows, in.logprobs, 2 * i + 1), pair.rejected_tokens, o);
    const Curve loss = pair_loss(chosen.of_sum.value - rejected.of_sum.value, o);
    pair.loss = loss.value / pairs + nll_weight * pair.chosen_nll;
    pair.chosen_logps = chosen.plain;
    pair.rejected_logps = rejected.plain;
    pair.chosen_reward = o.beta * chosen.of_sum.value;
    pair.rejected_reward = o.beta * rejected.of_sum.value;
    add_to_row(in.rows, 2 * i, loss.slope / pairs * chosen.of_sum.slope - nll_weight, out.d_logprobs);
    add_to_row(in.rows, 2 * i + 1, -loss.slope / pairs * rejected.of_sum.slope, out.d_logprobs);
  }
  for (PreferencePair& pair : out.pairs) pair.parts[0] = pair.chosen_nll / divisor(in.chosen_tokens, chosen_tokens);
  if (o.cpo_alpha != 0) out.parts = {"nll_loss"};
  return out;
}

Result<PreferenceLoss> orpo_loss(const PreferenceInputs& in, double beta) {
  PreferenceLoss out = measured_pairs(in);
  TRY(every_row_counts(out, "orpo"));
  int64_t chosen_tokens = 0;
  for (size_t i = 0; i < in.size(); ++i)
    chosen_tokens += static_cast<int64_t>(in.rows.end(2 * i) - in.rows.begin(2 * i));
  const double pairs = divisor(in.pairs, static_cast<int64_t>(in.size()));
  const double tokens = divisor(in.chosen_tokens, chosen_tokens);
  for (size_t i = 0; i < in.size(); ++i) {
    PreferencePair& pair = out.pairs[i];
    const double chosen_count = static_cast<double>(pair.chosen_tokens);
    const double rejected_count = static_cast<double>(pair.rejected_tokens);
    pair.chosen_logps = -pair.chosen_nll / chosen_count;
    pair.rejected_logps = row_sum(in.rows, in.logprobs, 2 * i + 1) / rejected_count;
    if (pair.chosen_logps >= 0 || pair.rejected_logps >= 0)
      return error(
          "orpo: every token of the {} completion of pair {} of the batch has probability 1: its odds are infinite.",
          pair.chosen_logps >= 0 ? "chosen" : "rejected", i + 1);
    pair.chosen_reward = beta * pair.chosen_logps;
    pair.rejected_reward = beta * pair.rejected_logps;
    double nll = 0;
    for (size_t t = in.rows.begin(2 * i); t < in.rows.end(2 * i); ++t) {
      nll -= in.logprobs[t];
      out.d_logprobs[t] -= 1.0 / tokens;
    }
    const Curve chosen = log_odds(pair.chosen_logps), rejected = log_odds(pair.rejected_logps);
    const double ratio = chosen.value - rejected.value;
    const Curve loss = neg_log_sigmoid(ratio);
    pair.loss = nll / tokens + beta * loss.value / pairs;
    pair.parts = {nll / tokens, -loss.value / pairs, ratio / pairs};
    const double slope = beta * loss.slope / pairs;
    add_to_row(in.rows, 2 * i, slope * chosen.slope / chosen_count, out.d_logprobs);
    add_to_row(in.rows, 2 * i + 1, -slope * rejected.slope / rejected_count, out.d_logprobs);
  }
  out.parts = {"nll_loss", "log_odds_ratio", "log_odds_chosen"};
  return out;
}

}  // namespace candor::algorithms
