#include "engine/quantization/gptq.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace candor::engine {

namespace {

double dot(const double* x, const double* y, int64_t n) {
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int64_t lane = 0; lane < 8; ++lane) sums[lane] += x[i + lane] * y[i + lane];
  for (; i < n; ++i) sums[0] += x[i] * y[i];
  return std::accumulate(sums, sums + 8, 0.0);
}

// C with C·Cᵀ = the matrix, in its lower triangle. A block of columns at a time: first what the columns before it take
// away, then the block's own square, then the rows below it. False: a pivot is not positive.
bool cholesky(ThreadPool& pool, std::vector<double>& matrix, int64_t n) {
  constexpr int64_t kBlock = 64;
  auto at = [&](int64_t row) { return matrix.data() + row * n; };
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t end = std::min(first + kBlock, n);
    pool.run(n - first, [&](int64_t i, int) {
      double* row = at(first + i);
      for (int64_t j = first; j < std::min(first + i + 1, end); ++j) row[j] -= dot(row, at(j), first);
    });
    auto solve = [&](double* row, int64_t columns) {
      for (int64_t j = first; j < columns; ++j)
        row[j] = (row[j] - dot(row + first, at(j) + first, j - first)) / at(j)[j];
    };
    for (int64_t j = first; j < end; ++j) {
      double* row = at(j);
      solve(row, j);
      const double pivot = row[j] - dot(row + first, row + first, j - first);
      if (!(pivot > 0) || !std::isfinite(pivot)) return false;
      row[j] = std::sqrt(pivot);
    }
    pool.run(n - end, [&](int64_t i, int) { solve(at(end + i), end); });
  }
  return true;
}

// One tile of rows through all groups.
class RowTile {
 public:
  RowTile(const Kernels& kernels, const WeightType& type, const HessianFactor& factor, const float* w, int64_t rows)
      : kernels_(kernels),
        type_(type),
        factor_(factor),
        w_(w),
        rows_(rows),
        errors_(static_cast<size_t>(rows * factor.width)),
        owed_(static_cast<size_t>(rows * kGroup)) {}

  void run(int8_t* codes, GroupGrid* grids) {
    const int64_t width = factor_.width;
    for (int64_t first = 0; first < width; first += kGroup) {
      for (int64_t j = 0; j < kGroup; ++j)
        for (int64_t row = 0; row < rows_; ++row)
          owed_[row * kGroup + j] = kernels_.dot(errors(row), ratios(first + j), first);
      for (int64_t row = 0; row < rows_; ++row) {
        GroupGrid& grid = grids[row * (width / kGroup) + first / kGroup];
        grid = least_error_grid(type_, unrounded(row, first).data(), factor_.costs.data() + first);
        round_group(row, first, grid, codes + row * width + first);
      }
    }
  }

 private:
  float* errors(int64_t row) { return errors_.data() + row * factor_.width; }
  const float* ratios(int64_t j) const { return factor_.rows.data() + j * factor_.width; }

  // Where column first + j stands: the weight, and what the columns before it owe.
  float target(int64_t row, int64_t first, int64_t j, const float* errors_in_group) const {
    float sum = w_[row * factor_.width + first + j] + owed_[row * kGroup + j];
    const float* ratio = ratios(first + j) + first;
    for (int64_t i = 0; i < j; ++i) sum += errors_in_group[i] * ratio[i];
    return sum;
  }

  // The group as it would be best without rounding it.
  std::array<float, kGroup> unrounded(int64_t row, int64_t first) const {
    std::array<float, kGroup> values, errors;
    for (int64_t j = 0; j < kGroup; ++j) {
      values[j] = target(row, first, j, errors.data());
      errors[j] = w_[row * factor_.width + first + j] - values[j];
    }
    return values;
  }

  void round_group(int64_t row, int64_t first, const GroupGrid& grid, int8_t* codes) {
    float* error = errors(row) + first;
    for (int64_t j = 0; j < kGroup; ++j) {
      codes[j] = static_cast<int8_t>(nearest_code(type_, grid, target(row, first, j, error)));
      error[j] = w_[row * factor_.width + first + j] - grid.value(codes[j]);
    }
  }

  const Kernels& kernels_;
  const WeightType& type_;
  const HessianFactor& factor_;
  const float* w_;
  int64_t rows_;
  std::vector<float> errors_;  // [rows, width], weight − rounded weight
  std::vector<float> owed_;    // [rows, kGroup], by the columns before the group
};

}  // namespace

std::optional<HessianFactor> factor_hessian(ThreadPool& pool, std::vector<double>& hessian, int64_t width,
                                            double damping) {
  CHECK(static_cast<int64_t>(hessian.size()) == width * width);
  double mean = 0;
  for (int64_t i = 0; i < width; ++i) mean += hessian[i * width + i] / static_cast<double>(width);
  if (!(mean > 0)) mean = 1;
  for (int64_t i = 0; i < width; ++i) {
    double& diagonal = hessian[i * width + i];
    if (diagonal == 0) diagonal = mean;
    diagonal += damping * mean;
  }
  // H = LᵀL is the Cholesky decomposition of H with rows and columns in reverse.
  std::reverse(hessian.begin(), hessian.end());
  if (!cholesky(pool, hessian, width)) return std::nullopt;
  HessianFactor factor{width, std::vector<float>(hessian.size()), std::vector<float>(static_cast<size_t>(width))};
  pool.run(width, [&](int64_t j, int) {
    const int64_t column = width - 1 - j;
    const double diagonal = hessian[column * width + column];
    factor.costs[j] = static_cast<float>(diagonal * diagonal / mean);
    for (int64_t i = 0; i < j; ++i)
      factor.rows[j * width + i] = static_cast<float>(hessian[(width - 1 - i) * width + column] / diagonal);
  });
  return factor;
}

void gptq(ThreadPool& pool, const Kernels& kernels, const WeightType& type, const HessianFactor& factor, const float* w,
          int64_t rows, int8_t* codes, GroupGrid* grids) {
  constexpr int64_t kTile = 16;
  const int64_t width = factor.width;
  CHECK(width % kGroup == 0 && type.has_grid());
  pool.run((rows + kTile - 1) / kTile, [&](int64_t tile, int) {
    const int64_t begin = tile * kTile, count = std::min(kTile, rows - begin);
    RowTile(kernels, type, factor, w + begin * width, count)
        .run(codes + begin * width, grids + begin * (width / kGroup));
  });
}

}  // namespace candor::engine
