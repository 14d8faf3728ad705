// RMS norms of rows that are padded to whole panels.
#pragma once

#include <algorithm>

#include "engine/context.h"

namespace candor::engine {

// y = x·weight/rms(x) of one row of n numbers, zeros in the padding of y; returns 1/rms.
inline float norm_row(const Kernels& kernels, const float* x, const Buffer& weight, float epsilon, int64_t n,
                      float* y) {
  const float factor = kernels.rms_norm(x, weight.data(), epsilon, n, y);
  std::fill(y + n, y + padded(n), 0.0f);
  return factor;
}

}  // namespace candor::engine
