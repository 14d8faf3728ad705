// What stands between the linear layers of an MLP: silu(gate)·up, or where there is no gate GELU of up.
#pragma once

#include "engine/activations.h"
#include "engine/gelu.h"

namespace candor::engine {

// Token t of a layer; out: [width].
inline void activate_token(const Kernels& kernels, const LayerActivations& a, int64_t width, int64_t t, float* out) {
  if (a.gate != nullptr)
    kernels.silu_mul(a.gate + t * width, a.up + t * width, width, out);
  else
    gelu(kernels, a.up + t * width, width, out);
}

// dout [width] of token t to its rows of dgate and dup [tokens, width], which may be gate and up.
inline void activate_token_backward(const Kernels& kernels, const LayerActivations& a, const float* dout, int64_t width,
                                    int64_t t, float* dgate, float* dup) {
  const int64_t at = t * width;
  if (a.gate != nullptr)
    kernels.silu_mul_backward(a.gate + at, a.up + at, dout, width, dgate + at, dup + at);
  else
    gelu_backward(kernels, a.up + at, dout, width, dup + at);
}

}  // namespace candor::engine
