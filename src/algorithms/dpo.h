// DPO (arXiv 2305.18290) and its family: fifteen losses on the log-ratios of a chosen and a rejected completion, alone
// or as a weighted list (MPO, 2411.10442), with other divergences than the reverse KL (2309.16240), discounted tails
// (LD-DPO, 2409.06411) and WPO's weights (2406.11827). Formulas and defaults are TRL 1.16's; cDPO is its 0.24's
// sigmoid with label_smoothing, which 1.16 ignores there.
//
// With h = Σ (logprob - reference_logprob) of a row, u = h(chosen), v = h(rejected), x = β(S(u) - S(v)), S the score of
// the divergence, ε = label_smoothing and ℓ(x) = -ln σ(x), the losses of a pair are written beside their names.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "algorithms/logistic.h"
#include "algorithms/preference.h"
#include "base/result.h"

namespace candor::algorithms {

enum class DpoType {
  kSigmoid,      // ℓ(x)
  kCdpo,         // (1-ε)·ℓ(x) + ε·ℓ(-x)
  kHinge,        // max(0, 1 - x)                                                    2305.10425
  kIpo,          // (S(u)/L_c - S(v)/L_r - 1/(2β))², L the rows' lengths               2310.12036
  kSigmoidNorm,  // ℓ(β(S(u)/L_c - S(v)/L_r))                                          2411.15124
  kExoPair,      // KL of (σ(x), σ(-x)) to (1-ε, ε)                                    2402.00856
  kRobust,       // ((1-ε)·ℓ(x) - ε·ℓ(-x)) / (1-2ε)                                    2403.00409
  kDiscopop,     // (1-k)·ℓ(x) + k·e^-x, k = σ(x/τ)                                    2406.08414
  kNcaPair,      // ℓ(βu) + ½ℓ(-βu) + ½ℓ(-βv)                                          2402.05369
  kBcoPair,      // ℓ(βu) + ℓ(-βv)                                                     2404.04656
  kSppoHard,     // (u - 1/(2β))² + (v + 1/(2β))²                                      2405.00675
  kAot,          // cdpo of β(a - b), a and b the sorted policy's and reference's log-ratios of all pairs    2406.05882
  kAotUnpaired,  // the same of the sorted u and the sorted v
  kApoZero,      // 1 - σ(βu) + σ(βv)                                                  2408.06266
  kApoDown,      // σ(βu) + 1 - σ(x)
  kSft,          // Σ -logprob over the chosen rows / their tokens
};

enum class Divergence { kReverseKl, kForwardKl, kJs, kAlpha };

struct WeightedDpo {
  DpoType type = DpoType::kSigmoid;
  double weight = 1.0;
};

struct DpoOptions {
  std::vector<WeightedDpo> losses = {{}};  // their sum
  double beta = 0.1;
  double label_smoothing = 0.0;
  Divergence f_divergence = Divergence::kReverseKl;
  double f_alpha = 0.5;  // of kAlpha: (e^((α-1)h) - 1)/(α-1), 1 is reverse_kl. (TRL 0.24's α is 1 - this one)
  std::optional<double> ld_alpha;  // what a counted token beyond the pair's shorter row weighs; none: 1
  bool use_weighting = false;      // WPO: a pair's loss times both rows' e^(mean(logprob - ln Σ p²)), held constant
  double discopop_tau = 0.05;
  bool ipo_of_sums = false;  // kIpo's scores are not divided by the rows' lengths (OpenRLHF, and TRL's online DPO)
};

// Error: an option that has no meaning with a loss of the list, in the option's own words.
Result<void> check(const DpoOptions& options);

// S(h) of a divergence: h | 1 - e^-h | ln σ(h) + ln 2 | (e^min((α-1)h, 80) - 1)/(α-1).
Curve divergence_score(double log_ratio, const DpoOptions& options);

// The two rows of a pair: log-ratios and lengths (at least 1).
struct PairScores {
  double chosen = 0, rejected = 0;
  double chosen_length = 1, rejected_length = 1;
};

// A pair's loss and its derivatives by the rows' log-ratios.
struct PairTerm {
  double loss = 0, d_chosen = 0, d_rejected = 0;
};

// Of every type that looks at one pair alone: all but the two AOT types and kSft.
PairTerm dpo_pair_term(DpoType type, const PairScores& scores, const DpoOptions& options);

// Pure. The AOT types sort over the pairs that are given: the local batch must be whole. Rewards are β·h, scores Σ
// logprob, both with ld_alpha's weights. Error: kSft where no chosen row has a token that counts.
Result<PreferenceLoss> dpo_loss(const PreferenceInputs& inputs, const DpoOptions& options);

}  // namespace candor::algorithms
