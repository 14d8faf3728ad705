#include "statistics/logistic_fit.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/cholesky.h"
#include "base/math.h"

namespace candor::statistics {

namespace {

// ln(1 + e^x).
double softplus(double x) {
  return std::max(x, 0.0) + exact_log(1.0 + exact_exp(-std::abs(x)));
}

double sigmoid(double x) {
  const double e = exact_exp(-std::abs(x));
  return (x >= 0 ? 1.0 : e) / (1.0 + e);
}

struct Problem {
  std::span<const double> features, offsets, weights;
  std::span<const uint8_t> labels;
  size_t columns = 0;
  double ridge = 1;

  double weight(size_t row) const { return weights.empty() ? 1.0 : weights[row]; }
  double log_odds(size_t row, const std::vector<double>& at) const {
    double sum = at[0] + (offsets.empty() ? 0.0 : offsets[row]);
    for (size_t k = 0; k < columns; ++k) sum += at[k + 1] * features[row * columns + k];
    return sum;
  }
  double loss(const std::vector<double>& at) const {
    double sum = 0;
    for (size_t row = 0; row < labels.size(); ++row) {
      const double eta = log_odds(row, at);
      sum += weight(row) * softplus(labels[row] ? -eta : eta);
    }
    for (size_t k = 1; k < at.size(); ++k) sum += 0.5 * ridge * at[k] * at[k];
    return sum;
  }
};

}  // namespace

double LogisticFit::log_odds(std::span<const double> features) const {
  CHECK(features.size() == coefficients.size());
  double sum = intercept;
  for (size_t k = 0; k < features.size(); ++k) sum += coefficients[k] * features[k];
  return sum;
}

LogisticFit fit_logistic(std::span<const double> features, std::span<const uint8_t> labels,
                         std::span<const double> offsets, std::span<const double> weights,
                         const LogisticOptions& options) {
  const size_t rows = labels.size();
  CHECK(options.ridge > 0 && (rows == 0 ? features.empty() : features.size() % rows == 0));
  CHECK((offsets.empty() || offsets.size() == rows) && (weights.empty() || weights.size() == rows));
  const Problem problem{features, offsets, weights, labels, rows == 0 ? 0 : features.size() / rows, options.ridge};
  const size_t n = problem.columns + 1;
  LogisticFit fit;
  fit.coefficients.assign(problem.columns, 0.0);
  double yes = 0, no = 0;
  for (size_t row = 0; row < rows; ++row) (labels[row] ? yes : no) += problem.weight(row);
  if (!(yes > 0 && no > 0)) return fit;

  std::vector<double> at(n, 0.0);
  double loss = problem.loss(at);
  for (int64_t iteration = 0; iteration < options.most_iterations; ++iteration) {
    std::vector<double> step(n, 0.0), hessian(n * n, 0.0), x(n, 1.0);
    for (size_t row = 0; row < rows; ++row) {
      std::copy_n(features.data() + row * problem.columns, problem.columns, x.data() + 1);
      const double p = sigmoid(problem.log_odds(row, at)), w = problem.weight(row);
      for (size_t i = 0; i < n; ++i) {
        step[i] += w * ((labels[row] ? 1.0 : 0.0) - p) * x[i];
        for (size_t j = 0; j <= i; ++j) hessian[i * n + j] += w * p * (1 - p) * x[i] * x[j];
      }
    }
    for (size_t k = 1; k < n; ++k) {
      step[k] -= options.ridge * at[k];
      hessian[k * n + k] += options.ridge;
    }
    const auto largest = [](const std::vector<double>& v) {
      double size = 0;
      for (const double value : v) size = std::max(size, std::abs(value));
      return size;
    };
    // As far as rounding lets the gradient fall.
    if ((fit.converged = largest(step) <= 1e-12 * (yes + no))) break;
    const auto factored = Cholesky::of(std::move(hessian), n);
    if (!factored) break;
    step = factored->solve(step);
    // So near the optimum, where the loss shows no difference any more, a step squares what is left.
    constexpr double kLastStep = 1e-5;
    if ((fit.converged = largest(step) < kLastStep)) {
      for (size_t i = 0; i < n; ++i) at[i] += step[i];
      break;
    }
    // Far from it Newton's step may be longer than the model is good for.
    constexpr double kLongest = 8;
    double scale = std::min(1.0, kLongest / largest(step));
    bool better = false;
    for (int halving = 0; halving < 40 && !better; ++halving, scale /= 2) {
      std::vector<double> next(n);
      for (size_t i = 0; i < n; ++i) next[i] = at[i] + scale * step[i];
      const double next_loss = problem.loss(next);
      better = next_loss < loss;
      if (better) {
        at = next;
        loss = next_loss;
      }
    }
    // No step lowers the loss: it is at its least to the last bits.
    if ((fit.converged = !better)) break;
  }
  fit.intercept = at[0];
  std::copy(at.begin() + 1, at.end(), fit.coefficients.begin());
  return fit;
}

}  // namespace candor::statistics
