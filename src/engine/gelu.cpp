#include "engine/gelu.h"

#include <algorithm>

namespace candor::engine {

namespace {

constexpr int64_t kBlock = 256;
constexpr float kSlope = 1.5957691216f;  // 2·sqrt(2/π)
constexpr float kCubic = 0.044715f;

struct Block {
  float gate[kBlock], up[kBlock];
  Block(const float* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const float slope = kSlope * (1.0f + kCubic * (x[i] * x[i]));
      gate[i] = slope * x[i];
      up[i] = 1.0f / slope;
    }
  }
};

}  // namespace

void gelu(const Kernels& kernels, const float* x, int64_t n, float* y) {
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t count = std::min(kBlock, n - first);
    const Block block(x + first, count);
    kernels.silu_mul(block.gate, block.up, count, y + first);
  }
}

// With up = 1/s and gate = s·x, s = kSlope·(1 + kCubic·x²): d gate/dx = s + x·s', d up/dx = −s'·up².
void gelu_backward(const Kernels& kernels, const float* x, const float* dy, int64_t n, float* dx) {
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t count = std::min(kBlock, n - first);
    const Block block(x + first, count);
    float dgate[kBlock], dup[kBlock];
    kernels.silu_mul_backward(block.gate, block.up, dy + first, count, dgate, dup);
    for (int64_t i = 0; i < count; ++i) {
      const float at = x[first + i], square = at * at, up = block.up[i];
      const float of_gate = kSlope * (1.0f + 3 * kCubic * square), of_up = -2 * kSlope * kCubic * at * up * up;
      dx[first + i] = dgate[i] * of_gate + dup[i] * of_up;
    }
  }
}

}  // namespace candor::engine
