#include "belief/leace.h"

#include <cmath>

#include "base/check.h"
#include "base/cholesky.h"
#include "base/rng.h"

namespace candor::belief {

namespace {

std::vector<double> mean_of(std::span<const float> states, size_t width) {
  const size_t rows = states.size() / width;
  std::vector<double> mean(width, 0.0);
  for (size_t row = 0; row < rows; ++row)
    for (size_t i = 0; i < width; ++i) mean[i] += states[row * width + i];
  for (double& value : mean) value /= static_cast<double>(rows);
  return mean;
}

// The lower triangle of (1 - s)·Σ + s·v·I, v the mean of Σ's diagonal.
std::vector<double> covariance(const std::vector<double>& centred, size_t width, double shrinkage) {
  const size_t rows = centred.size() / width;
  std::vector<double> sigma(width * width, 0.0);
  for (size_t row = 0; row < rows; ++row) {
    const double* x = centred.data() + row * width;
    for (size_t i = 0; i < width; ++i)
      for (size_t j = 0; j <= i; ++j) sigma[i * width + j] += x[i] * x[j];
  }
  double trace = 0;
  for (double& value : sigma) value /= static_cast<double>(rows);
  for (size_t i = 0; i < width; ++i) trace += sigma[i * width + i];
  for (double& value : sigma) value *= 1 - shrinkage;
  for (size_t i = 0; i < width; ++i) sigma[i * width + i] += shrinkage * trace / static_cast<double>(width);
  return sigma;
}

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

void add_direction(Erasure& erasure, std::span<const double> u, std::span<const double> v) {
  for (const double value : u) erasure.u.push_back(static_cast<float>(value));
  for (const double value : v) erasure.v.push_back(static_cast<float>(value));
  ++erasure.rank;
}

}  // namespace

Erasure leace(std::span<const float> states, size_t width, std::span<const double> concept_values, size_t columns,
              const LeaceOptions& options) {
  CHECK(width > 0 && columns > 0 && states.size() % width == 0 && options.shrinkage >= 0 && options.shrinkage < 1);
  const size_t rows = states.size() / width;
  CHECK(concept_values.size() == rows * columns);
  Erasure out;
  if (rows < 2) return out;
  const std::vector<double> mean = mean_of(states, width);
  out.mean.assign(mean.begin(), mean.end());
  std::vector<double> centred(states.begin(), states.end());
  for (size_t row = 0; row < rows; ++row)
    for (size_t i = 0; i < width; ++i) centred[row * width + i] -= mean[i];
  const auto sigma = Cholesky::of(covariance(centred, width, options.shrinkage), width);
  if (!sigma) return out;  // no state differs from another

  constexpr double kNothing = 1e-10;                // of a column's own length: it follows from those before
  std::vector<std::vector<double>> directions, by;  // s of Σ_xz, made orthogonal in Σ_xx⁻¹; Σ_xx⁻¹ s
  for (size_t column = 0; column < columns; ++column) {
    double average = 0;
    for (size_t row = 0; row < rows; ++row) average += concept_values[row * columns + column];
    average /= static_cast<double>(rows);
    std::vector<double> s(width, 0.0);
    for (size_t row = 0; row < rows; ++row)
      for (size_t i = 0; i < width; ++i)
        s[i] +=
            centred[row * width + i] * (concept_values[row * columns + column] - average) / static_cast<double>(rows);
    std::vector<double> inverse = sigma->solve(s);
    const double whole = dot(s, inverse);
    for (size_t k = 0; k < directions.size(); ++k) {
      const double along = dot(by[k], s) / dot(by[k], directions[k]);
      for (size_t i = 0; i < width; ++i) {
        s[i] -= along * directions[k][i];
        inverse[i] -= along * by[k][i];
      }
    }
    const double left = dot(s, inverse);
    if (!(left > kNothing * whole)) continue;
    std::vector<double> u = s;
    for (double& value : u) value /= left;
    add_direction(out, u, inverse);
    directions.push_back(std::move(s));
    by.push_back(std::move(inverse));
  }
  return out;
}

Erasure random_erasure(std::span<const float> states, size_t width, int64_t rank, uint64_t seed) {
  CHECK(width > 0 && states.size() % width == 0 && !states.empty() && rank >= 0 && static_cast<size_t>(rank) <= width);
  Erasure out;
  const std::vector<double> mean = mean_of(states, width);
  out.mean.assign(mean.begin(), mean.end());
  std::vector<std::vector<double>> directions;
  for (int64_t k = 0; k < rank; ++k) {
    std::vector<double> direction(width);
    for (size_t i = 0; i < width; ++i)
      direction[i] = random_normal({seed, RngStream::kInitialisation, static_cast<uint32_t>(k), 0}, i);
    for (const std::vector<double>& before : directions) {
      const double along = dot(direction, before);
      for (size_t i = 0; i < width; ++i) direction[i] -= along * before[i];
    }
    const double length = std::sqrt(dot(direction, direction));
    for (double& value : direction) value /= length;
    add_direction(out, direction, direction);
    directions.push_back(std::move(direction));
  }
  return out;
}

}  // namespace candor::belief
