// Coherence of what a model holds probable (score 4): by how much its probabilities break the laws that tie a
// proposition to its negation, to what follows from it and to a conjunction (the Fréchet bounds). 0 is coherent; a gap
// that needs an answer that was not given is NaN.
#pragma once

#include <span>
#include <vector>

#include "belief/answers.h"
#include "belief/propositions.h"

namespace candor::belief {

struct CoherenceGaps {
  double negation = kNotAsked;           // |P(p) + P(not p) - 1|
  double implication = kNotAsked;        // (P(p) - P(q))+ where p implies q; the mean over its q
  double conjunction_above = kNotAsked;  // (P(a and b) - min(P(a), P(b)))+
  double conjunction_below = kNotAsked;  // (P(a) + P(b) - 1 - P(a and b))+

  double mean() const;  // of those that are defined; NaN: none
};

// Of each item; `answers` in the propositions' order. Ids that nothing answers are passed over.
std::vector<CoherenceGaps> coherence_gaps(std::span<const Proposition> propositions,
                                          std::span<const ItemAnswers> answers);

// The gap between statement and negation alone: what a control has as well.
double negation_gap(const ItemAnswers& answers);

// BeliefBank's 1 - τ (arXiv 2109.14723): of the constraints of an item that apply, the share that is kept. They apply
// where the model takes p for true, and are its sub-questions (p has an answer to each), what it implies, and the two
// parts of a conjunction. NaN: none applies.
std::vector<double> constraints_kept(std::span<const Proposition> propositions, std::span<const ItemAnswers> answers);

// NCB (arXiv 2601.05905): P(p)·(Π p_i)^(1/m) over its m answered sub-questions, p_i the probability of p's side. NaN
// without P(p) or any of those.
double neighbor_consistency(const ItemAnswers& answers);

}  // namespace candor::belief
