// The group-relative policy losses on per-token log-probabilities: GRPO (arXiv 2402.03300), Dr. GRPO (2503.20783), DAPO
// (2503.14476), BNPO, CISPO (2506.13585), SAPO (2511.20347), LUSPO (2602.05261), each with the token's or the
// sequence's ratio (GSPO, 2507.18071); VESPO (2602.10693), whose weight comes from the whole row's ratio; GMPO
// (2507.20673), the geometric mean of a row's ratios. Formulas and defaults are TRL 1.16's.
//
// The loss is Σ_i weight_i Σ_t (policy term + KL term), with the weights of `loss_normalizer`; a row's numbers depend
// on that row and its weight alone. So rows may be split into calls at will without changing a bit, and the caller adds
// the rows' losses in row order.
//
// Kinks are torch's: a ratio exactly on a clip bound or on delta has the unclipped gradient and is not counted as
// clipped; where min or max meets two equal branches, each gives half its gradient.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "algorithms/metrics.h"
#include "algorithms/normalizer.h"
#include "algorithms/ragged.h"

namespace candor::algorithms {

// kSequence: exp of the mean log-ratio of the row's counted tokens (GSPO); kSequenceSum: of their sum, the ratio of
// whole sequences, which is RLOO's with LossType::kGrpo.
enum class RatioLevel { kToken, kSequence, kSequenceSum };

// The KL estimator in the loss, or measured beside it. kCorrectedK3 is ρ·k3 with gradient through ρ (TRL's
// use_bias_correction_kl; arXiv 2512.02556): on-policy its value is k3's and its gradient k2's, the reverse KL's. Plain
// k3 is a biased approximation. k1's derivative does not depend on the policy and is 0 in expectation: it belongs in
// the reward, and is measured here.
enum class KlInLoss { kCorrectedK3, kK3, kK2, kK1 };

struct GrpoOptions {
  LossType loss_type = LossType::kDapo;
  double epsilon = 0.2;
  // None: epsilon. CISPO's ratio is capped at this number itself, not at 1 + it; GMPO's are bounds of the log-ratio.
  std::optional<double> epsilon_high;
  std::optional<double> delta;  // cap of the ratio in the unclipped branch (arXiv 2505.07291); none: no cap
  RatioLevel importance_sampling_level = RatioLevel::kToken;
  double beta = 0.0;  // weight of the KL term; 0: none, though its estimators are measured where a reference is given
  KlInLoss kl_in_loss = KlInLoss::kCorrectedK3;
  // Bounds on k3 in the loss: of reference - logprob before, and of k3 itself. Beyond one the derivative is 0. None in
  // TRL; verl has 20 and 10, OpenRLHF 10 of k3.
  std::optional<double> k3_log_ratio_clamp, k3_clamp;
  std::optional<double> off_policy_mask_threshold;  // drop A < 0 where mean(sampling or old - logprob) is above it
  double sapo_temperature_pos = 1.0, sapo_temperature_neg = 1.05;
  double vespo_k_pos = 2.0, vespo_lambda_pos = 3.0, vespo_k_neg = 3.0, vespo_lambda_neg = 2.0;
};

// Token arrays are [tokens] of `rows`; where the mask is 0 any number may stand there.
struct GrpoInputs {
  RaggedRows rows;
  std::span<const double> logprobs;            // of the policy, at the sampling temperature
  std::span<const double> old_logprobs;        // of the policy that sampled; empty: on-policy, ρ = 1 with gradient
  std::span<const double> reference_logprobs;  // empty: none; required where beta is not 0
  std::span<const double> entropies;           // nats; empty: not measured
  std::span<const double> advantages;          // [N], or [tokens] in token_advantages instead
  std::span<const double> token_advantages;
  std::span<const double> row_weights;   // [N] from loss_normalizer
  std::span<const uint8_t> policy_mask;  // [tokens] 0 drops the policy term, not the KL (top entropy); empty: all 1
  std::span<const double> sampler_correction;   // [tokens] constant factor of the policy term (sampler_correction.h);
                                                // empty: 1. VESPO's φ holds it; not for GMPO
  std::span<const double> off_policy_logprobs;  // [tokens] for off_policy_mask_threshold; empty: old_logprobs
  std::span<const double> entropy_weights;      // [N] entropy bonus: loss -= weight · Σ kept entropies; empty: none
};

// What one row adds to the step: sums over its counted tokens (the loss with its weight, the rest without).
struct GrpoRow {
  double loss = 0;
  int64_t tokens = 0;
  double entropy = 0;
  double entropy_bonus = 0;  // what the bonus took from `loss`
  double kl = 0;             // the estimator that the loss uses
  double kl_k1 = 0, kl_k2 = 0, kl_k3 = 0;
  int64_t ratios = 0;                         // ratios that may be clipped: the row's tokens, or its one sequence ratio
  int64_t clipped_low = 0, clipped_high = 0;  // of those
  double row_weights = 0;                     // VESPO: φ, once per row (per token where advantages are)
  int64_t row_weight_count = 0;
};

struct GrpoLoss {
  std::vector<GrpoRow> rows;        // [N]
  std::vector<double> d_logprobs;   // [tokens] d loss / d logprob, 0 under the mask
  std::vector<double> d_entropies;  // [tokens] d loss / d entropy; empty without entropy_weights

  double loss() const;  // the rows' losses, added in row order
};

// Pure. Degenerate: no row or no counted token gives loss 0 and derivatives 0. A non-finite input gives a non-finite
// loss, for the guard to see.
GrpoLoss grpo_loss(const GrpoInputs& inputs, const GrpoOptions& options);

// What grpo_loss's inputs held, and so what it measured.
struct GrpoMeasured {
  bool entropies = true, reference = true;
};

// The metrics of all rows of a step together, under TRL's names: entropy, kl, kl_k1, kl_k2, kl_k3 (token means) as far
// as measured; clip_ratio/low_mean, high_mean, region_mean (share of the ratios: one per counted token, or per row at
// sequence level), low_min, high_max (over rows); cispo_clip_ratio for CISPO; vespo/phi_seq_mean for VESPO (mean over
// rows); none of these for SAPO, which does not clip.
// Where nothing was counted the means are 0, and low_min and high_max NaN, as in TRL.
Metrics grpo_metrics(std::span<const GrpoRow> rows, const GrpoOptions& options, const GrpoMeasured& measured);

}  // namespace candor::algorithms
