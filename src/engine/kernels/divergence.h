// Two rows of logits over one vocabulary block: what each adds to the divergence of their distributions, and its
// derivative. Plain loops that every level shares, over probabilities that the level's own exp_row makes.
#pragma once

#include <cstdint>

#include "engine/kernels/kernels.h"

namespace candor::engine {

// A pair of rows: p and q are the softmaxes of the first and the second over the temperature. beta as in Divergence
// (head_divergence.h).
struct DivergentRow {
  double log_sum, other_log_sum;  // ln Σ exp(z/τ) of both
  float inverse_temperature;
  double beta;
};

// Σ p·ln(p/m) and Σ q·ln(q/m) so far. m: beta 0 is p, 1 is q, else beta·q + (1-beta)·p.
struct DivergenceSums {
  double of_first = 0, of_other = 0;
};

// n is at most 512; blocks come in order and their borders are fixed by the caller.
void divergence_block(const Kernels& kernels, const DivergentRow& row, const float* first, const float* other,
                      int64_t n, DivergenceSums* sums);

// coefficient · d divergence / d first logits, [n]. of_first: the finished sum.
void divergence_block_gradient(const Kernels& kernels, const DivergentRow& row, double of_first, float coefficient,
                               const float* first, const float* other, int64_t n, float* gradient);

// Σ (p of one row)² and Σ z/τ so far, over one block.
struct SpreadSums {
  double squares = 0, logits = 0;
};
void spread_block(const Kernels& kernels, double log_sum, float inverse_temperature, const float* logits, int64_t n,
                  SpreadSums* sums);

}  // namespace candor::engine
