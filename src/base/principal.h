// The largest singular values of a matrix, with their vectors: what PiSSA (arXiv 2404.02948) begins with.
#pragma once

#include <cstdint>
#include <vector>

namespace candor {

// W ≈ Σ over k of values[k]·left[k]·right[k]ᵀ. Of more factors than min(rows, columns) the rest are zero.
struct PrincipalFactors {
  std::vector<double> values;              // [rank], falling
  std::vector<std::vector<double>> left;   // [rank][rows], of length 1
  std::vector<std::vector<double>> right;  // [rank][columns], of length 1
};

// Of w [rows, columns], row-major, by Lanczos bidiagonalisation with full reorthogonalisation, in double, on one
// thread: the same bits on every machine. Goes on until the wanted factors have converged, at the latest when it has
// them all.
PrincipalFactors principal_factors(const std::vector<float>& w, int64_t rows, int64_t columns, int64_t rank);

}  // namespace candor
