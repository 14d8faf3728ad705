#include "engine/norm.h"

#include <algorithm>
#include <vector>

namespace candor::engine {

float row_mean(const float* x, int64_t n) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int64_t lane = 0; lane < 8; ++lane) lanes[lane] += static_cast<double>(x[i + lane]);
  for (; i < n; ++i) lanes[0] += static_cast<double>(x[i]);
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return static_cast<float>(sum / static_cast<double>(n));
}

float norm_row(const Kernels& kernels, const float* x, const NormWeights& norm, float epsilon, int64_t n, float* y) {
  std::fill(y + n, y + padded(n), 0.0f);
  if (!norm.centres()) return kernels.rms_norm(x, norm.weight.data(), epsilon, n, y);
  const float mean = row_mean(x, n);
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] - mean;
  const float factor = kernels.rms_norm(y, norm.weight.data(), epsilon, n, y);
  kernels.add(norm.bias.data(), n, y);
  return factor;
}

// The gradient of x is that of the centred row, less its mean.
void norm_row_backward(const Kernels& kernels, const float* x, const NormWeights& norm, float factor, const float* dy,
                       int64_t n, float* dx) {
  if (!norm.centres()) return kernels.rms_norm_backward(x, norm.weight.data(), factor, dy, n, dx);
  const float mean = row_mean(x, n);
  std::vector<float> centred(static_cast<size_t>(n)), gradient(centred.size());
  for (int64_t i = 0; i < n; ++i) centred[i] = x[i] - mean;
  kernels.rms_norm_backward(centred.data(), norm.weight.data(), factor, dy, n, gradient.data());
  const float common = row_mean(gradient.data(), n);
  for (int64_t i = 0; i < n; ++i) dx[i] += gradient[i] - common;
}

}  // namespace candor::engine
