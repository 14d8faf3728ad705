// Positive definite systems of a few hundred unknowns, in double and in one order: the same bits on every machine.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace candor {

// A = L·Lᵀ.
class Cholesky {
 public:
  // a [n][n], of which the lower triangle is read. Nothing where A is not positive definite.
  static std::optional<Cholesky> of(std::vector<double> a, size_t n);

  // A⁻¹·b, b [n].
  std::vector<double> solve(std::span<const double> b) const;

 private:
  Cholesky(std::vector<double> lower, size_t n) : lower_(std::move(lower)), n_(n) {}
  std::vector<double> lower_;
  size_t n_ = 0;
};

}  // namespace candor
