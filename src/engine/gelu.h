// GELU's tanh form (Hendrycks and Gimpel, arXiv 1606.08415; Transformers' gelu_new), x·σ(2u) with
// u = sqrt(2/π)·(x + 0.044715·x³). As σ(2u) = silu(2u)/(2u), it is the SiLU kernel with gate 2u and up x/(2u), which is
// 1/(2·sqrt(2/π)·(1 + 0.044715·x²)) and never divides by zero.
#pragma once

#include "engine/kernels/kernels.h"

namespace candor::engine {

// y = gelu(x), n a multiple of 16.
void gelu(const Kernels& kernels, const float* x, int64_t n, float* y);

// dx = gelu'(x)·dy; dx may be x or dy.
void gelu_backward(const Kernels& kernels, const float* x, const float* dy, int64_t n, float* dx);

}  // namespace candor::engine
