// Rounding a linear layer's weights so that its outputs, not the weights, stay close.
//
// GPTQ (Frantar et al., arXiv 2210.17323): with H = XᵀX of the layer's inputs, the error of a row of outputs is
// (w − q) H (w − q)ᵀ. Columns are rounded one after another, and what one of them loses is made good by those that
// follow. Written here with H = LᵀL, L lower triangular: column j is rounded at w_j + Σ_{i<j} (w_i − q_i)·L_ji / L_jj,
// and an error e there costs e²·L_jj². It is the same recursion as the paper's equations (2) and (3), without an
// inverse.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/thread_pool.h"
#include "engine/kernels/kernels.h"
#include "engine/quantization/group_grid.h"

namespace candor::engine {

struct HessianFactor {
  int64_t width = 0;
  std::vector<float> rows;   // [width, width], row j: L_ji / L_jj for i < j
  std::vector<float> costs;  // [width], L_jj², relative to the mean of H's diagonal
};

// hessian: [width, width], symmetric, with non-negative diagonal; overwritten. `damping` times the mean of the diagonal
// is added to it (the paper: 0.01). Inputs that are always 0 get the mean. Empty: not positive definite, or not finite.
std::optional<HessianFactor> factor_hessian(ThreadPool& pool, std::vector<double>& hessian, int64_t width,
                                            double damping);

// The codes and grids of rows [0, rows) of w [rows, width], width in whole groups. A group's grid is the one of
// least_error_grid() for the weights as they have become when its turn comes, each error at its cost. codes [rows,
// width], grids [rows, width/kGroup]. Rows are independent of one another.
void gptq(ThreadPool& pool, const Kernels& kernels, const WeightType& type, const HessianFactor& factor, const float* w,
          int64_t rows, int8_t* codes, GroupGrid* grids);

}  // namespace candor::engine
