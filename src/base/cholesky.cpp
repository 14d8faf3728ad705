#include "base/cholesky.h"

#include <cmath>

#include "base/check.h"

namespace candor {

std::optional<Cholesky> Cholesky::of(std::vector<double> a, size_t n) {
  CHECK(a.size() == n * n);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j <= i; ++j) {
      double sum = a[i * n + j];
      for (size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      if (i == j && !(sum > 0)) return std::nullopt;
      a[i * n + j] = i == j ? std::sqrt(sum) : sum / a[j * n + j];
    }
  return Cholesky(std::move(a), n);
}

std::vector<double> Cholesky::solve(std::span<const double> b) const {
  CHECK(b.size() == n_);
  std::vector<double> x(b.begin(), b.end());
  for (size_t i = 0; i < n_; ++i) {
    for (size_t k = 0; k < i; ++k) x[i] -= lower_[i * n_ + k] * x[k];
    x[i] /= lower_[i * n_ + i];
  }
  for (size_t i = n_; i-- > 0;) {
    for (size_t k = i + 1; k < n_; ++k) x[i] -= lower_[k * n_ + i] * x[k];
    x[i] /= lower_[i * n_ + i];
  }
  return x;
}

}  // namespace candor
