// Evidence of the sub-questions (score 3): how much likelier a model's answers are where it believes than where it only
// says so, by the hit rates of controls of either sign.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "belief/answers.h"

namespace candor::belief {

// Of one kind of question: a hit is an answer of p's side.
struct KindRates {
  int64_t positive_hits = 0, positive_asked = 0, negative_hits = 0, negative_asked = 0;
  double beta = 0.5;  // hit rate of positive controls, (hits + 1/2) / (asked + 1)
  double eta = 0.5;   // of negative controls
};

struct EvidenceWeights {
  std::array<KindRates, kQuestionKinds.size()> kinds;
  double correlation = 0;  // ρ of an item's answers, 0 to 1
};

// Of controls that the model says; weights, one per control, count it that often (none: each once; 0 leaves it out).
EvidenceWeights evidence_weights(std::span<const Control* const> controls, std::span<const double> weights = {});

// Λ = Σ_j [y_j ln(β/η) + (1 - y_j) ln((1 - β)/(1 - η))] / (1 + (m - 1)ρ) over the m sub-questions that have an answer;
// 0 where none has.
double evidence(const ItemAnswers& answers, const EvidenceWeights& weights);

}  // namespace candor::belief
