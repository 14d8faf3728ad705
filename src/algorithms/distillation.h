// Token-level distillation on whole distributions: forward KL, reverse KL and the generalised Jensen-Shannon divergence
// between them (GKD, arXiv 2306.13649), and the advantage of MiniLLM (2306.08543). Formulas are TRL 1.16's (MiniLLM
// 1.14.2): nothing is multiplied by τ², and the limits b → 0 and b → 1 of the middle formula are 0, so the two ends are
// formulas of their own.
#pragma once

#include <span>
#include <vector>

#include "algorithms/ragged.h"

namespace candor::algorithms {

// Of one token, in nats, with p and q the softmaxes of student and teacher logits [V] over the temperature:
//   beta 0: KL(q‖p)    beta 1: KL(p‖q)    between: beta·KL(q‖M) + (1-beta)·KL(p‖M), M = beta·q + (1-beta)·p
// d_student [V] becomes its derivative by the student's logits. beta 1 is MiniLLM's single-step term as well.
double token_divergence(std::span<const double> student, std::span<const double> teacher, double beta,
                        double temperature, std::span<double> d_student);

struct MinillmOptions {
  double gamma = 0.0;
  bool length_normalization = true;
};

// [tokens] from r_t = teacher - student log-probability of the token that was taken: with gamma 0 r_t itself; else Σ
// over j ≥ t of γ^j·r_j, with length normalization divided by Σ of γ^j over the same tokens (one that does not count
// adds 1e-4·γ^j). j counts from the row's first token, so without length normalization the number is γ^t times the
// paper's. Added to the group's advantage. 0 where the mask is 0.
std::vector<double> minillm_advantages(const RaggedRows& rows, std::span<const double> student_logprobs,
                                       std::span<const double> teacher_logprobs, const MinillmOptions& options);

}  // namespace candor::algorithms
