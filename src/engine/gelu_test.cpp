// GELU's tanh form and LayerNorm, which are built of other kernels, against their formulas in double.
#include "engine/gelu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "engine/kernels/test_numbers.h"
#include "engine/norm.h"
#include "engine/testing.h"

namespace candor::engine {
namespace {

double exact_gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

TEST(Gelu, IsItsFormulaAndItsDerivative) {
  constexpr int64_t kCount = 4096;  // several blocks of 256
  Floats x(kCount), dy = noise(kCount, 3), y(kCount), dx(kCount);
  for (int64_t i = 0; i < kCount; ++i) x[i] = 24.0f * static_cast<float>(i) / kCount - 12.0f;
  for (const Kernels* kernels : levels()) {
    gelu(*kernels, x.data(), kCount, y.data());
    gelu_backward(*kernels, x.data(), dy.data(), kCount, dx.data());
    Floats in_place = x;
    gelu_backward(*kernels, in_place.data(), dy.data(), kCount, in_place.data());
    for (int64_t i = 0; i < kCount; ++i) {
      const auto at = static_cast<double>(x[i]);
      // A few roundings of float32, and exp's own: some 1e-7 of the value; near its zeros, of what was added up.
      EXPECT_NEAR(static_cast<double>(y[i]), exact_gelu(at), 6e-7 * (std::abs(exact_gelu(at)) + 0.1)) << at;
      const double slope = (exact_gelu(at + 1e-5) - exact_gelu(at - 1e-5)) / 2e-5;
      EXPECT_NEAR(static_cast<double>(dx[i]), slope * static_cast<double>(dy[i]), 2e-6) << at;
      EXPECT_EQ(in_place[i], dx[i]);
    }
    EXPECT_EQ(y[kCount / 2], 0.0f);
  }
}

TEST(LayerNorm, IsItsFormulaAndItsDerivative) {
  constexpr int64_t kWidth = 41;  // not a multiple of 16, nor of 8
  constexpr double kEpsilon = 1e-5;
  testing::Bench bench;
  NormWeights norm{Buffer(bench.ledger, "test", "weight", padded(kWidth)),
                   Buffer(bench.ledger, "test", "bias", padded(kWidth))};
  const Floats w = noise(kWidth, 1), b = noise(kWidth, 2), dy = noise(kWidth, 4);
  Floats x = noise(kWidth, 3);
  for (float& value : x) value += 3.0f;  // a mean that matters
  std::copy(w.begin(), w.end(), norm.weight.data());
  std::copy(b.begin(), b.end(), norm.bias.data());
  auto exact = [&](const std::vector<double>& at) {
    double mean = 0, square = 0;
    for (const double value : at) mean += value / kWidth;
    for (const double value : at) square += (value - mean) * (value - mean) / kWidth;
    std::vector<double> y;
    for (int64_t i = 0; i < kWidth; ++i)
      y.push_back((at[i] - mean) / std::sqrt(square + kEpsilon) * static_cast<double>(w[i]) +
                  static_cast<double>(b[i]));
    return y;
  };
  const std::vector<double> at(x.begin(), x.end()), expected = exact(at);
  for (const Kernels* kernels : levels()) {
    Floats y(static_cast<size_t>(padded(kWidth)), 7.0f), dx(kWidth, 0.5f);
    const float factor = norm_row(*kernels, x.data(), norm, static_cast<float>(kEpsilon), kWidth, y.data());
    norm_row_backward(*kernels, x.data(), norm, factor, dy.data(), kWidth, dx.data());
    for (int64_t i = 0; i < padded(kWidth); ++i) {
      if (i >= kWidth) {
        EXPECT_EQ(y[i], 0.0f);
        continue;
      }
      EXPECT_NEAR(static_cast<double>(y[i]), expected[i], 2e-6);  // x − mean loses two bits
      auto loss = [&](double step) {
        std::vector<double> moved = at;
        moved[i] += step;
        const std::vector<double> values = exact(moved);
        double sum = 0;
        for (int64_t k = 0; k < kWidth; ++k) sum += values[k] * static_cast<double>(dy[k]);
        return sum;
      };
      EXPECT_NEAR(static_cast<double>(dx[i]), 0.5 + (loss(1e-5) - loss(-1e-5)) / 2e-5, 2e-6);
    }
  }
}

}  // namespace
}  // namespace candor::engine
