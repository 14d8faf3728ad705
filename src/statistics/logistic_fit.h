// Logistic regression with an L2 penalty: log odds of a label as a linear function of a few features. Newton's method,
// on base/math.h alone, so the same bits on every machine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace candor::statistics {

struct LogisticOptions {
  double ridge = 1.0;  // > 0: keeps the coefficients finite where the labels can be separated
  int64_t most_iterations = 100;
};

struct LogisticFit {
  double intercept = 0;
  std::vector<double> coefficients;
  bool converged = false;

  double log_odds(std::span<const double> features) const;  // without an offset
};

// Minimises Σ_i w_i·[ln(1 + e^η_i) - y_i·η_i] + ridge/2·Σ_k c_k², η_i = offset_i + intercept + Σ_k c_k·x_ik. The
// intercept is not penalised. (scikit-learn's LogisticRegression with C = 1/ridge.) features [rows][columns],
// row-major, may have no columns; labels [rows], 1 is yes; offsets and weights (>= 0) [rows] or empty, which is 0
// and 1. All finite. Labels of one value alone (by weight): zeros, not converged, since no intercept is best.
LogisticFit fit_logistic(std::span<const double> features, std::span<const uint8_t> labels,
                         std::span<const double> offsets = {}, std::span<const double> weights = {},
                         const LogisticOptions& options = {});

}  // namespace candor::statistics
