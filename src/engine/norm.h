// Norms of rows that are padded to whole panels: RMS norms, and LayerNorms, which are RMS norms of the row less its
// mean, plus a bias.
#pragma once

#include "engine/context.h"
#include "engine/model.h"

namespace candor::engine {

// One row of n numbers normed, zeros in the padding of y, which is not x; returns 1/rms, of a LayerNorm that of the
// centred row.
float norm_row(const Kernels& kernels, const float* x, const NormWeights& norm, float epsilon, int64_t n, float* y);

// dx += d loss / d x, given dy = d loss / d y and the factor that the forward returned.
void norm_row_backward(const Kernels& kernels, const float* x, const NormWeights& norm, float factor, const float* dy,
                       int64_t n, float* dx);

// The mean of n numbers, added up in an order that depends on n only.
float row_mean(const float* x, int64_t n);

}  // namespace candor::engine
