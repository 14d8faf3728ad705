#include "base/principal.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "base/rng.h"

namespace candor {
namespace {

// Reproducible numbers in [-1, 1).
std::vector<float> noise(int64_t n, uint64_t seed) {
  std::vector<float> numbers;
  for (int64_t i = 0; i < n; ++i)
    numbers.push_back(
        static_cast<float>(2 * random_uniform({seed, RngStream::kData, 0, 0}, static_cast<uint64_t>(i)) - 1));
  return numbers;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// W = Σ values[k]·left[k]·right[k]ᵀ with every factor, the factors orthonormal and falling.
void check_all(const std::vector<float>& w, int64_t rows, int64_t columns, int64_t rank) {
  const PrincipalFactors f = principal_factors(w, rows, columns, rank);
  const int64_t all = std::min(rows, columns);
  double worst = 0;
  for (int64_t i = 0; i < rows && rank >= all; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      double sum = -static_cast<double>(w[i * columns + j]);
      for (int64_t k = 0; k < rank; ++k) sum += f.values[k] * f.left[k][i] * f.right[k][j];
      worst = std::max(worst, std::abs(sum));
    }
  EXPECT_LT(worst, 1e-12);
  for (int64_t k = 0; k < rank; ++k) {
    if (k > 0) {
      EXPECT_LE(f.values[k], f.values[k - 1] * (1 + 1e-12));
    }
    if (f.values[k] < 1e-9) continue;
    for (int64_t l = 0; l <= k; ++l) {
      EXPECT_NEAR(dot(f.left[k], f.left[l]), k == l ? 1 : 0, 1e-9);
      EXPECT_NEAR(dot(f.right[k], f.right[l]), k == l ? 1 : 0, 1e-9);
    }
    // Wᵀ left = value·right: a singular triple, whichever rank was asked for.
    for (int64_t j = 0; j < columns; ++j) {
      double sum = -f.values[k] * f.right[k][j];
      for (int64_t i = 0; i < rows; ++i) sum += static_cast<double>(w[i * columns + j]) * f.left[k][i];
      EXPECT_NEAR(sum, 0, 1e-9);
    }
  }
}

TEST(PrincipalFactors, AreSingularTriples) {
  constexpr std::array<int64_t, 3> kSizes[] = {{7, 7, 7}, {32, 56, 32}, {56, 32, 4}, {90, 70, 5},
                                               {1, 9, 1}, {9, 1, 1},    {3, 5, 8},   {300, 200, 6}};
  for (const auto& [rows, columns, rank] : kSizes) check_all(noise(rows * columns, 4), rows, columns, rank);
}

TEST(PrincipalFactors, OfDegenerateMatrices) {
  check_all(std::vector<float>(20, 0.0f), 4, 5, 3);  // zero
  std::vector<float> one(60 * 40);                   // rank 1
  for (size_t i = 0; i < one.size(); ++i)
    one[i] = 0.01f * static_cast<float>(i / 40) + 0.0f * static_cast<float>(i % 40);
  check_all(one, 60, 40, 3);
  std::vector<float> identity(50 * 50, 0.0f);  // all singular values the same
  for (size_t i = 0; i < 50; ++i) identity[i * 51] = 2.0f;
  check_all(identity, 50, 50, 50);
  EXPECT_NEAR(principal_factors(identity, 50, 50, 2).values[1], 2, 1e-12);
}

// The truncation is the nearest matrix of that rank: what is left has the next singular value as its norm.
TEST(PrincipalFactors, AgreeWithTheFullDecomposition) {
  const auto w = noise(120 * 80, 9);
  const PrincipalFactors all = principal_factors(w, 120, 80, 80), some = principal_factors(w, 120, 80, 6);
  for (size_t k = 0; k < 6; ++k) {
    EXPECT_NEAR(some.values[k], all.values[k], 1e-9);
    EXPECT_NEAR(std::abs(dot(some.right[k], all.right[k])), 1, 1e-9);
  }
}

}  // namespace
}  // namespace candor
