// The terms that a group loss is made of, one token at a time, each with its derivatives. grpo.h says which loss is
// made of which and what a ratio is.
#pragma once

#include "algorithms/grpo.h"
#include "algorithms/kl.h"

namespace candor::algorithms {

// One token's term: its value, its derivative with respect to the log-ratio w (the token's or the row's), and the one
// that goes straight to the token's log-probability.
struct Term {
  double value = 0, d_log_ratio = 0, d_logprob = 0;
};

// Of the losses whose term is a function of the token's (or row's) ratio: the clipped ones, CISPO and SAPO.
Term policy_term(double ratio, double advantage, double logprob, const GrpoOptions& options);

// VESPO's weight φ(e^W) = exp(λ + kW - λe^W) of a row with the log-ratio W, a constant: the term is -φ·A·logprob.
double vespo_weight(double row_log_ratio, double advantage, const GrpoOptions& options);

// GMPO's one-sided clip of a log-ratio: min(w, ε_high) where A > 0, else max(w, -ε).
double gmpo_clipped(double log_ratio, double advantage, const GrpoOptions& options);

// The KL estimator of the loss; ρ is the chosen level's, before clip and delta.
Term kl_term(double ratio, double logprob, double reference, const KlEstimates& kl, const GrpoOptions& options);

// Adds to the row's counts whether its ratio is outside the clip: strictly, and after delta's cut, as TRL counts.
void count_clipped(double ratio, double advantage, const GrpoOptions& options, GrpoRow& row);

double epsilon_high(const GrpoOptions& options);  // epsilon where it is not given

}  // namespace candor::algorithms
