// The normal, beta and binomial distributions, in double, on base/math.h alone: a p-value has the same bits on every
// machine. Relative errors stay near 1e-12 for counts up to 1e5 (distributions_test.cpp compares with SciPy).
#pragma once

#include <cstdint>

namespace candor::statistics {

double log_gamma(double x);  // x > 0

// I_x(a, b), the distribution function of Beta(a, b) at x; a, b > 0, 0 <= x <= 1.
double incomplete_beta(double a, double b, double x);

// The x with I_x(a, b) = p, 0 <= p <= 1, to the last bits of a double.
double incomplete_beta_inverse(double a, double b, double p);

// P(X <= k) and P(X >= k) of X ~ Binomial(n, p); k may lie outside 0..n.
double binomial_at_most(int64_t k, int64_t n, double p);
double binomial_at_least(int64_t k, int64_t n, double p);

double normal_cdf(double z);
double normal_quantile(double p);  // 0 < p < 1

}  // namespace candor::statistics
