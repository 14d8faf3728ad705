// Divergences block by block at every level, against the same sums in double.
#include "engine/kernels/divergence.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/kernels/test_numbers.h"

namespace candor::engine {
namespace {

constexpr int64_t kBlock = 512;

struct Truth {
  double of_first = 0, of_other = 0;
  std::vector<double> gradient;  // d divergence / d first logits
};

std::vector<double> log_softmax(const Floats& logits, float inverse, double* log_sum) {
  double maximum = -1e300, sum = 0;
  for (const float x : logits) maximum = std::max(maximum, static_cast<double>(x * inverse));
  for (const float x : logits) sum += std::exp(static_cast<double>(x * inverse) - maximum);
  *log_sum = maximum + std::log(sum);
  std::vector<double> out;
  for (const float x : logits) out.push_back(static_cast<double>(x * inverse) - *log_sum);
  return out;
}

Truth truth_of(const std::vector<double>& s, const std::vector<double>& t, double beta, double inverse) {
  Truth truth;
  std::vector<double> m;
  for (size_t v = 0; v < s.size(); ++v) {
    const double high = std::max(std::log(beta) + t[v], std::log1p(-beta) + s[v]);
    m.push_back(beta == 0   ? s[v]
                : beta == 1 ? t[v]
                            : high + std::log(std::exp(std::log(beta) + t[v] - high) +
                                              std::exp(std::log1p(-beta) + s[v] - high)));
    truth.of_first += std::exp(s[v]) * (s[v] - m[v]);
    truth.of_other += std::exp(t[v]) * (t[v] - m[v]);
  }
  for (size_t v = 0; v < s.size(); ++v)
    truth.gradient.push_back(inverse *
                             (beta == 0 ? std::exp(s[v]) - std::exp(t[v])
                                        : (beta < 1 ? 1 - beta : 1) * std::exp(s[v]) * (s[v] - m[v] - truth.of_first)));
  return truth;
}

// spread: of the logits; apart: how far the other row's differ from the first's.
void compare(const Kernels& kernels, int64_t vocabulary, float spread, float apart, double beta, float inverse) {
  Floats first = noise(vocabulary, 3), other = noise(vocabulary, 4);
  for (size_t i = 0; i < first.size(); ++i) first[i] = 20 + spread * first[i], other[i] = first[i] + apart * other[i];
  DivergentRow row{0, 0, inverse, beta};
  const auto s = log_softmax(first, inverse, &row.log_sum), t = log_softmax(other, inverse, &row.other_log_sum);
  const Truth truth = truth_of(s, t, beta, inverse);
  DivergenceSums sums;
  for (int64_t at = 0; at < vocabulary; at += kBlock)
    divergence_block(kernels, row, first.data() + at, other.data() + at, std::min(kBlock, vocabulary - at), &sums);
  const auto what = fmt::format("{} V {} spread {} apart {} beta {}", kernels.name, vocabulary, spread, apart, beta);
  // Logits of some 20 (50 with the widest spread) have half a unit of 1e-6 (4e-6) each; differences of them are what
  // is summed.
  const double tolerance = spread > 10 ? 8e-6 : 2e-6;
  if (beta > 0) {
    EXPECT_NEAR(sums.of_first, truth.of_first, tolerance) << what;
  }
  if (beta < 1) {
    EXPECT_NEAR(sums.of_other, truth.of_other, tolerance) << what;
  }
  double worst = 0, of_all = 0;
  Floats gradient(kBlock);
  for (int64_t at = 0; at < vocabulary; at += kBlock) {
    const int64_t n = std::min(kBlock, vocabulary - at);
    divergence_block_gradient(kernels, row, truth.of_first, 3.0f, first.data() + at, other.data() + at, n,
                              gradient.data());
    for (int64_t j = 0; j < n; ++j) {
      worst = std::max(worst, std::abs(static_cast<double>(gradient[static_cast<size_t>(j)]) -
                                       3 * truth.gradient[static_cast<size_t>(at + j)]));
      of_all += static_cast<double>(gradient[static_cast<size_t>(j)]);
    }
  }
  EXPECT_LT(worst, 3 * tolerance) << what;
  EXPECT_NEAR(of_all, 0, 1e-5) << what;  // a shift of all logits changes nothing; 49152 terms of 1e-6/V each
}

TEST(DivergenceKernels, AreTheSumsInDouble) {
  for (const Kernels* kernels : levels())
    for (const double beta : {0.0, 1e-4, 0.3, 0.5, 0.9, 1.0})
      for (const float apart : {0.0f, 1e-3f, 1.0f, 12.0f}) {
        compare(*kernels, 163, 1.0f, apart, beta, 1.0f);
        compare(*kernels, 1300, 5.0f, apart, beta, 1.43f);
      }
  for (const Kernels* kernels : levels())
    for (const double beta : {0.0, 0.5, 1.0}) compare(*kernels, 49152, 30.0f, 3.0f, beta, 0.7f);
}

// Where one row has all its mass on what the other all but excludes, every number stays finite.
TEST(DivergenceKernels, DisjointRowsAreFinite) {
  for (const Kernels* kernels : levels())
    for (const double beta : {0.0, 0.25, 1.0}) {
      Floats first = {300, 0, -300}, other = {-300, 0, 300}, gradient(3);
      const DivergentRow row{300, 300, 1, beta};
      DivergenceSums sums;
      divergence_block(*kernels, row, first.data(), other.data(), 3, &sums);
      divergence_block_gradient(*kernels, row, sums.of_first, 1, first.data(), other.data(), 3, gradient.data());
      const double p_to_m = beta == 1 ? 600 : -std::log(1 - beta), q_to_m = beta == 0 ? 600 : -std::log(beta);
      if (beta > 0) {
        EXPECT_NEAR(sums.of_first, p_to_m, 1e-6) << kernels->name << beta;
      }
      if (beta < 1) {
        EXPECT_NEAR(sums.of_other, q_to_m, 1e-6) << kernels->name << beta;
      }
      for (const float slope : gradient) EXPECT_TRUE(std::isfinite(slope));
    }
}

TEST(DivergenceKernels, SpreadOfOneRow) {
  for (const Kernels* kernels : levels())
    for (const float spread : {0.0f, 1.0f, 20.0f}) {
      Floats logits = noise(49152, 8);
      for (float& x : logits) x = 10 + spread * x;
      double log_sum = 0, squares = 0, mean = 0;
      for (const double log_p : log_softmax(logits, 1.25f, &log_sum)) squares += std::exp(2 * log_p), mean += log_p;
      SpreadSums sums;
      for (int64_t at = 0; at < 49152; at += kBlock)
        spread_block(*kernels, log_sum, 1.25f, logits.data() + at, kBlock, &sums);
      EXPECT_NEAR(std::log(sums.squares), std::log(squares), 4e-6) << kernels->name;  // exp's argument, as above
      EXPECT_NEAR(sums.logits / 49152 - log_sum, mean / 49152, 1e-9) << kernels->name;
    }
}

}  // namespace
}  // namespace candor::engine
