#include "statistics/distributions.h"

#include <cmath>
#include <numbers>

#include "base/check.h"
#include "base/math.h"

namespace candor::statistics {

namespace {

// Continued fraction of I_x(a, b) by Lentz's method; converges fast for x < (a+1)/(a+b+2).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300, kConverged = 1e-15;
  constexpr int kMaxTerms = 100000;  // about sqrt(max(a, b)) are needed
  auto away_from_zero = [](double v) { return std::abs(v) < kTiny ? kTiny : v; };
  double c = 1.0;
  double d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
  double fraction = d;
  for (int i = 1; i <= kMaxTerms; ++i) {
    const double m = i;
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1.0 / away_from_zero(1.0 + even * d);
    c = away_from_zero(1.0 + even / c);
    fraction *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1.0 / away_from_zero(1.0 + odd * d);
    c = away_from_zero(1.0 + odd / c);
    fraction *= d * c;
    if (std::abs(d * c - 1.0) <= kConverged) break;
  }
  return fraction;
}

// The upper tail of the normal distribution, z >= 0: series near 0, continued fraction (Laplace) beyond.
double normal_tail(double z) {
  const double density = exact_exp(-0.5 * z * z) / std::sqrt(2.0 * std::numbers::pi);
  if (z < 3.0) {
    double term = z, sum = z;
    for (int k = 3; term > 1e-18 * sum; k += 2) sum += term *= z * z / k;
    return 0.5 - density * sum;
  }
  double fraction = z;
  for (int k = 200; k >= 1; --k) fraction = z + k / fraction;
  return density / fraction;
}

}  // namespace

// Stirling's series from 12 upwards, reached by Γ(x+1) = x·Γ(x).
double log_gamma(double x) {
  CHECK(x > 0);
  double product = 1.0;
  while (x < 12.0) product *= x++;
  const double r = 1.0 / x, r2 = r * r;
  constexpr double kBernoulli[] = {1.0 / 12,   -1.0 / 360,      1.0 / 1260, -1.0 / 1680,
                                   1.0 / 1188, -691.0 / 360360, 1.0 / 156};
  double series = 0.0;
  for (int i = 6; i >= 0; --i) series = series * r2 + kBernoulli[i];
  const double stirling = (x - 0.5) * exact_log(x) - x + 0.5 * exact_log(2.0 * std::numbers::pi) + series * r;
  return stirling - exact_log(product);
}

double incomplete_beta(double a, double b, double x) {
  CHECK(a > 0 && b > 0 && x >= 0 && x <= 1);
  if (x == 0 || x == 1) return x;
  const double log_front = log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * exact_log(x) + b * exact_log(1.0 - x);
  const double front = exact_exp(log_front);
  if (x < (a + 1.0) / (a + b + 2.0)) return front * beta_fraction(a, b, x) / a;
  return 1.0 - front * beta_fraction(b, a, 1.0 - x) / b;
}

double incomplete_beta_inverse(double a, double b, double p) {
  CHECK(p >= 0 && p <= 1);
  double low = 0.0, high = 1.0;
  while (true) {
    const double middle = 0.5 * (low + high);
    if (middle <= low || middle >= high) return middle;
    (incomplete_beta(a, b, middle) < p ? low : high) = middle;
  }
}

double binomial_at_most(int64_t k, int64_t n, double p) {
  if (k < 0) return 0.0;
  if (k >= n) return 1.0;
  return incomplete_beta(static_cast<double>(n - k), static_cast<double>(k + 1), 1.0 - p);
}

double binomial_at_least(int64_t k, int64_t n, double p) {
  if (k <= 0) return 1.0;
  if (k > n) return 0.0;
  return incomplete_beta(static_cast<double>(k), static_cast<double>(n - k + 1), p);
}

double normal_cdf(double z) {
  return z > 0 ? 1.0 - normal_tail(z) : normal_tail(-z);
}

double normal_quantile(double p) {
  CHECK(p > 0 && p < 1);
  if (p > 0.5) return -normal_quantile(1.0 - p);
  double low = -40.0, high = 0.0;
  while (true) {
    const double middle = 0.5 * (low + high);
    if (middle <= low || middle >= high) return middle;
    (normal_cdf(middle) < p ? low : high) = middle;
  }
}

}  // namespace candor::statistics
