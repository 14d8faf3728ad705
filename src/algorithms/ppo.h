// Proximal policy optimisation (arXiv 1707.06347) with generalised advantage estimation (1506.02438): from scores and
// log-probabilities to rewards, from rewards and values to advantages and returns, and the clipped policy and value
// losses. Formulas and defaults are those of TRL's PPOTrainer 1.12.
//
// A response of L tokens has L log-probabilities, and L or L+1 values: value t is the critic's before token t, and the
// one behind the last token is there where the response left room for it (it ended by itself). The score is paid at
// that last position: behind the last token, or on it where there is no room.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "algorithms/metrics.h"
#include "algorithms/ragged.h"

namespace candor::algorithms {

struct PpoRows {
  RaggedRows tokens;  // of the responses; every token counts
  RaggedRows values;  // the same rows, each as long or one longer; every position counts
};

struct PpoRewardOptions {
  double kl_coef = 0.05;
  bool k3 = false;                   // e^(ref-old) - 1 - (ref-old) in the place of k1, old - ref
  double missing_eos_penalty = 0.0;  // off the score of a response without its stop token
};

struct PpoRewards {
  std::vector<double> rewards;  // [value positions]
  std::vector<double> scores;   // [N] after the penalty
  std::vector<double> kl;       // [N] Σ of the estimator over the row
};

// -kl_coef·kl of each token, and the score at the row's last value position. scores, ended [N]; ended 1 = has its stop
// token.
PpoRewards ppo_rewards(const PpoRows& rows, std::span<const double> old_logprobs,
                       std::span<const double> reference_logprobs, std::span<const double> scores,
                       std::span<const uint8_t> ended, const PpoRewardOptions& options);

// (y - mean) / √(var + 1e-8), var with n-1; keep_mean adds the mean again. Numbers that are all the same (one number,
// too) have the variance 0: whitened they are 0, or the mean.
std::vector<double> whitened(std::span<const double> values, bool keep_mean = false);

struct PpoAdvantages {
  std::vector<double> advantages;  // [tokens], not whitened: whitened(advantages) goes into the loss
  std::vector<double> returns;     // [value positions] advantage + value
};

// δ_t = R_t + γ·V_{t+1} - V_t, A_t = δ_t + γλ·A_{t+1}, with V and A 0 behind a row's last position; old_values and
// rewards [value positions].
PpoAdvantages gae(const PpoRows& rows, std::span<const double> rewards, std::span<const double> old_values,
                  double gamma, double lambda);

struct PpoOptions {
  double cliprange = 0.2, cliprange_value = 0.2;
  double vf_coef = 0.1;
};

struct PpoInputs {
  PpoRows rows;
  std::span<const double> logprobs, old_logprobs, advantages;  // [tokens]
  std::span<const double> values, old_values, returns;         // [value positions]
  int64_t mini_batch_tokens = 0, mini_batch_values = 0;        // the two means' divisors; 0: those of these rows
};
// The two losses share no number: without log-probabilities there is only the critic's, without values only the
// policy's.

// What one row adds to its mini-batch: losses with their divisors, the rest as sums over its tokens (value positions).
struct PpoRow {
  double policy_loss = 0, value_loss = 0;  // value_loss without vf_coef
  int64_t tokens = 0, values = 0;
  double approx_kl = 0;     // Σ ½(logprob - old)²
  double ratio = 0;         // Σ ρ
  double ratio_spread = 0;  // Σ (ρ - 1)²
  int64_t clipped = 0, clipped_values = 0;

  PpoRow& operator+=(const PpoRow& other);
};

struct PpoLoss {
  std::vector<PpoRow> rows;        // [N]
  std::vector<double> d_logprobs;  // [tokens], or empty
  std::vector<double> d_values;    // [value positions], or empty

  double loss(double vf_coef) const;  // Σ policy_loss + vf_coef·Σ value_loss, in row order
};

// Pure. Policy: max(-Aρ, -A·clip(ρ, 1 ± cliprange)), mean over tokens. Value: ½·max((V-ret)², (V̂-ret)²) with V̂ =
// clip(V, V_old ± cliprange_value), mean over value positions; its derivatives hold vf_coef. On a bound the unclipped
// branch has the gradient.
PpoLoss ppo_loss(const PpoInputs& inputs, const PpoOptions& options);

// loss/policy_avg, loss/value_avg, policy/approxkl_avg, policy/clipfrac_avg, val/clipfrac_avg, val/ratio: means over
// the tokens (value positions) that there are; val/ratio_var: the tokens' variance, with n. (TRL's approxkl and ratio
// are means over the padding, too, and its variance is that of the micro-batches' means.)
Metrics ppo_metrics(std::span<const PpoRow> rows);

}  // namespace candor::algorithms
