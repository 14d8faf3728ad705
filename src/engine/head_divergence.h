// How far two heads' distributions are apart at the same tokens, over the whole vocabulary, without holding [tokens,
// vocabulary]: forward and reverse Kullback-Leibler divergence and the generalised Jensen-Shannon divergence between
// them (GKD, arXiv 2306.13649). The heads may be of two models, or of one with and without an adapter; their
// vocabularies are the same. Formulas as algorithms/distillation.h.
//
// A second pass over the vocabulary: the forward of each head has left its log-sums (HeadView). Every row's numbers are
// those that it would have by itself.
#pragma once

#include <vector>

#include "engine/head.h"

namespace candor::engine {

// Of each row, in nats, with p the first view's distribution and q the other's:
//   beta 0: KL(q‖p)    beta 1: KL(p‖q)    between: beta·KL(q‖m) + (1-beta)·KL(p‖m), m = beta·q + (1-beta)·p
struct Divergence {
  double beta = 1.0, temperature = 1.0;
  std::vector<double> values;                    // [rows]
  std::vector<double> of_first;                  // [rows] Σ p·ln(p/m), which the derivative needs
  std::vector<double> log_sums, other_log_sums;  // [rows]

  // coefficient · d values[row] / d first logits of one block of n ids, from the block's logits of both.
  void gradient(const Kernels& kernels, int64_t row, float coefficient, const float* first, const float* other,
                int64_t n, float* out) const;
};

// The views have as many rows, one temperature and one vocabulary.
Divergence head_divergence(const Context& context, const HeadView& first, const HeadView& other, double beta);

// What else one head says of each row, over the whole vocabulary.
struct VocabularyStatistics {
  std::vector<double> log_sum_sq_probs;  // [rows] ln Σ p²: WPO's weight (arXiv 2406.11827)
  std::vector<double> mean_logprobs;     // [rows] mean over the vocabulary of ln p: label smoothing
};
VocabularyStatistics vocabulary_statistics(const Context& context, const HeadView& view);

// Of a planned ledger: allocates, and lets go of, what head_divergence holds while it runs. (vocabulary_statistics
// holds what head_forward does.)
void plan_head_divergence(const Context& context, const PackedMatrix& first, const PackedMatrix& other, int64_t rows);

}  // namespace candor::engine
