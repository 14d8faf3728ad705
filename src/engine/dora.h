// The row norms that DoRA divides by, of W + s·B·A without ever holding it:
// n² = |W|² + 2s·rowsum(Uᵀ⊙B) + s²·rowsum((B·AAᵀ)⊙B) with U = A·Wᵀ, row by row, clamped at 0.
// W is what the base computes with, dequantized; A is not rounded.
#pragma once

#include "engine/adapter.h"

namespace candor::engine {

// |W|² of every row [out] of a pair's base, of an embedding every column, in double and rounded once.
void base_squares(const Context& context, const LoraPair& pair, float* squares);

// n of every row [out], for A and B as they stand in the adapter's parameters; `squares` are those of the base.
// Runs on one thread.
void adapted_row_norms(const Kernels& kernels, const LoraPair& pair, const float* parameters, const float* squares,
                       float* norms);

}  // namespace candor::engine
