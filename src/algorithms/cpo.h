// Preference losses without a reference model: CPO (arXiv 2401.08417), SimPO (2405.14734), AlphaPO (2501.03884), the
// pair part of TPO (2405.16681), and ORPO (2403.07691). Formulas and defaults are TRL 1.16's.
//
// cpo_alpha is 1 by default, also with loss_type simpo: that is CPO-SimPO. Pure SimPO needs cpo_alpha 0.
#pragma once

#include "algorithms/preference.h"
#include "base/result.h"

namespace candor::algorithms {

// With R = Σ logprob of a row (kIpo, kSimpo: its mean), D = R_c - R_r, ε = label_smoothing and ℓ(x) = -ln σ(x):
enum class CpoType {
  kSigmoid,  // (1-ε)·ℓ(βD) + ε·ℓ(-βD)
  kHinge,    // max(0, 1 - βD)
  kIpo,      // (D - 1/(2β))²
  kSimpo,    // (1-ε)·ℓ(βD - γ) + ε·ℓ(γ - βD)
};

struct CpoOptions {
  CpoType type = CpoType::kSigmoid;
  double beta = 0.1;
  double label_smoothing = 0.0;
  double cpo_alpha = 1.0;    // weight of Σ -logprob over the chosen rows / their tokens
  double simpo_gamma = 0.5;  // γ, inside β·D - γ
  double alpha = 0.0;        // AlphaPO: R becomes (1 - e^(-αR))/α; 0: R itself
};

// Pure; inputs.reference_logprobs is not read. parts: nll_loss, where cpo_alpha is not 0. TPO is this with cpo_alpha 0,
// plus tpo_alpha times the likelihood loss (sft.h) of its gold rows; its tpo-l is kSimpo. Error: a row without counted
// tokens where R is a mean.
Result<PreferenceLoss> cpo_loss(const PreferenceInputs& inputs, const CpoOptions& options);

// Pure. Σ -logprob over *every* token of the chosen rows, prompt included / their number, + β·mean ℓ(o_c - o_r), where
// o = a - ln(1 - e^a) and a is the mean logprob of a row's counted tokens. inputs.rows holds the prompts, too, with
// mask 0; inputs.chosen_tokens counts all tokens of the step's chosen rows. Error: a row without counted tokens, or
// whose tokens all have probability 1 (its odds are infinite).
Result<PreferenceLoss> orpo_loss(const PreferenceInputs& inputs, double beta);

}  // namespace candor::algorithms
