// Preference learning on the policy's own completions: online DPO (arXiv 2402.04792), XPO (2405.21046) and Nash-MD
// (2312.00886). Formulas and defaults are TRL's (online DPO 1.16, the others 1.13).
//
// Online DPO and XPO are dpo_loss on pairs made by a judge or a reward, with kSigmoid, or kIpo on sums: give
// PreferenceInputs::lengths of 1.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "algorithms/preference.h"

namespace candor::algorithms {

// [B]: 1 where the first of a prompt's two completions is chosen: its reward is not below the second's. rewards and
// ended [2B], a prompt's two rows adjacent; ended 1 = the completion has its stop token, and missing_eos_penalty is
// taken off the reward of one that has not.
std::vector<uint8_t> first_is_chosen(std::span<const double> rewards, std::span<const uint8_t> ended,
                                     double missing_eos_penalty = 0.0);

// XPO's optimism: adds alpha·Σ logprob of the completion that the *reference* wrote to each pair's loss, mean over
// pairs. reference_is_chosen [B], 1 = that completion is the chosen row. alpha is 1e-5 in TRL.
void add_xpo_term(const PreferenceInputs& inputs, std::span<const uint8_t> reference_is_chosen, double alpha,
                  PreferenceLoss& loss);

struct NashInputs {
  RaggedRows rows;                                       // the policy's completions
  std::span<const double> logprobs, reference_logprobs;  // [tokens]
  std::span<const double> win_probabilities;  // [N] that the judge prefers the row to the mixture's completion
  int64_t step_rows = 0;                      // rows of the step, the mean's divisor; 0: these
};

struct NashLoss {
  double loss = 0;
  double score = 0;                // mean over rows of (P - ½)·Σ logprob: TRL's loss/score
  double kl = 0;                   // and of Σ (logprob - reference): its loss/kl
  std::vector<double> d_logprobs;  // [tokens]
};

// Pure. Mean over rows of β·Σ sg(logprob - reference)·logprob - (P - ½)·Σ logprob: REINFORCE on the judge's probability
// and on the KL.
NashLoss nash_md_loss(const NashInputs& inputs, double beta);

}  // namespace candor::algorithms
