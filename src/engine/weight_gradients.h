// Gradients of whole weights, added into buffers that are laid out as the weights themselves: tokens in row order, so
// that any split of them into calls gives the same bits; threads split outputs.
#pragma once

#include <cstdint>
#include <span>

#include "engine/model.h"

namespace candor::engine {

// dw [panels][in][16] += Σ over tokens of x[t, in]·dy[t, panels·16].
struct WeightGradient {
  const float* x = nullptr;  // [rows, in], `in` padded
  int64_t in = 0;
  const float* dy = nullptr;  // [rows, dy_row], of which the first panels·16 columns count
  int64_t dy_row = 0, panels = 0;
  float* dw = nullptr;
};
void add_weight_gradients(const Context& context, std::span<const WeightGradient> gradients, int64_t rows);

// db [width] += Σ over tokens of dy [rows, width].
void add_bias_gradient(const Context& context, const float* dy, int64_t rows, int64_t width, float* db);

// The weight of a norm: dw [width] += Σ over tokens of dy·(x − mean)·factor, with the factor [rows] that the forward
// returned; the mean is 0 unless it is a LayerNorm. x, dy: [rows, padded(n)].
void add_norm_gradient(const Context& context, const NormWeights& norm, const float* x, const float* factor,
                       const float* dy, int64_t rows, int64_t n, float* dw);

// dw, laid out as a PackedMatrix [vocabulary, width]: the row of each token's id += dx [rows, width].
void add_embedding_gradient(const Context& context, std::span<const int32_t> ids, const float* dx, int64_t width,
                            float* dw);

}  // namespace candor::engine
