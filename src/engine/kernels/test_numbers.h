// For the tests of this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/kernels/kernels.h"

namespace candor::engine {

using Floats = std::vector<float>;

// Reproducible numbers in [-1, 1).
inline Floats noise(int64_t n, uint32_t seed) {
  Floats out(static_cast<size_t>(n));
  uint32_t state = seed * 2654435761u + 1;
  for (float& x : out) {
    state = state * 1664525u + 1013904223u;
    x = static_cast<float>(static_cast<int32_t>(state)) / 2147483648.0f;
  }
  return out;
}

// Every level that this processor has, the reference first.
inline std::vector<const Kernels*> levels() {
  std::vector<const Kernels*> out = {&plain_kernels()};
  if (avx2_kernels()) out.push_back(avx2_kernels());
  if (avx512_kernels()) out.push_back(avx512_kernels());
  if (avx512_bf16_kernels()) out.push_back(avx512_bf16_kernels());
  return out;
}

}  // namespace candor::engine
