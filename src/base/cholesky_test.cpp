#include "base/cholesky.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"

namespace candor {
namespace {

// [4 2; 2 5]·[1; 3] = [10; 17]. The upper triangle is not read.
TEST(Cholesky, OnPaper) {
  const auto a = Cholesky::of({4, -99, 2, 5}, 2);
  ASSERT_TRUE(a);
  const std::vector<double> x = a->solve(std::vector<double>{10, 17});
  EXPECT_DOUBLE_EQ(x[0], 1);
  EXPECT_DOUBLE_EQ(x[1], 3);
}

TEST(Cholesky, SolvesWhatItIsGiven) {
  constexpr size_t n = 40;
  std::vector<double> a(n * n, 0.0), want(n), b(n, 0.0);
  for (size_t i = 0; i < n; ++i) {
    want[i] = random_normal({1, RngStream::kData, 1, 0}, i);
    for (size_t j = 0; j < n; ++j)
      for (size_t k = 0; k < 2 * n; ++k)
        a[i * n + j] += random_normal({1, RngStream::kData, 0, static_cast<uint32_t>(i)}, k) *
                        random_normal({1, RngStream::kData, 0, static_cast<uint32_t>(j)}, k);
  }
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) b[i] += a[i * n + j] * want[j];
  const auto factored = Cholesky::of(a, n);
  ASSERT_TRUE(factored);
  const std::vector<double> x = factored->solve(b);
  for (size_t i = 0; i < n; ++i) EXPECT_NEAR(x[i], want[i], 1e-11);  // a condition of some hundred
}

TEST(Cholesky, WhatIsNotPositiveDefiniteIsRefused) {
  EXPECT_FALSE(Cholesky::of({1, 0, 2, 1}, 2));  // eigenvalues 3 and -1
  EXPECT_FALSE(Cholesky::of({0}, 1));
  EXPECT_FALSE(Cholesky::of({1, 0, 1, 1}, 2));  // singular
  EXPECT_TRUE(Cholesky::of({}, 0));
}

}  // namespace
}  // namespace candor
