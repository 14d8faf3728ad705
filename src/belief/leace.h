// Erasing a concept from hidden states so that no linear reader finds it, and changing them as little as that allows:
// LEACE (arXiv 2306.03819, theorem 4.2), for a concept of one column or a few.
//
// r(x) = x - Σ_xz (Σ_xzᵀ Σ_xx⁻¹ Σ_xz)⁻¹ Σ_xzᵀ Σ_xx⁻¹ (x - E x), which is the theorem's x - W⁺ P W (x - E x) written
// without W = Σ_xx^(-1/2). It is exact for whatever positive definite matrix stands for Σ_xx: that only decides which
// of the erasures is taken. So Σ_xx may be shrunk, which a few hundred states of a few hundred numbers need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace candor::belief {

// What engine::erase_from_hidden takes: h - U(Vᵀ(h - μ)), directions [rank][width]. No direction: nothing to erase.
struct Erasure {
  std::vector<float> u, v, mean;
  int64_t rank = 0;
};

struct LeaceOptions {
  double shrinkage = 0.1;  // > 0, or 0 where there are more rows than columns: part of Σ_xx that is the mean variance
};

// states [rows][width], finite; concept [rows][columns]: a label of 0 and 1, or several. Columns that do not vary with
// the states, or follow from others, add no direction. Fewer than two rows: none.
Erasure leace(std::span<const float> states, size_t width, std::span<const double> concept_values, size_t columns,
              const LeaceOptions& options = {});

// The control: `rank` random directions, orthogonal and of length 1, erased in the same way around the states' mean.
Erasure random_erasure(std::span<const float> states, size_t width, int64_t rank, uint64_t seed);

}  // namespace candor::belief
