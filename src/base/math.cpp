#include "base/math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>

namespace candor {

namespace {

constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;

// Multiplies by 2^n in two steps, so that results near the ends of the range do not pass through infinity or zero.
double scale_by_power_of_two(double x, int n) {
  const int half = n / 2;
  auto power = [](int e) { return std::bit_cast<double>(static_cast<uint64_t>(e + 1023) << 52); };
  return x * power(half) * power(n - half);
}

// sin and cos of x in [-pi/4, pi/4], given as high + low, by their Taylor series; each tail is below 2^-60.
double sin_series(double x, double low) {
  const double z = x * x;
  double p = -1.0 / 1307674368000.0;  // -1/15!
  p = p * z + 1.0 / 6227020800.0;
  p = p * z - 1.0 / 39916800.0;
  p = p * z + 1.0 / 362880.0;
  p = p * z - 1.0 / 5040.0;
  p = p * z + 1.0 / 120.0;
  p = p * z - 1.0 / 6.0;
  return x + (x * z * p + low * (1.0 - 0.5 * z));
}

double cos_series(double x, double low) {
  const double z = x * x;
  double p = 1.0 / 20922789888000.0;  // 1/16!
  p = p * z - 1.0 / 87178291200.0;
  p = p * z + 1.0 / 479001600.0;
  p = p * z - 1.0 / 3628800.0;
  p = p * z + 1.0 / 40320.0;
  p = p * z - 1.0 / 720.0;
  p = p * z + 1.0 / 24.0;
  return 1.0 - (0.5 * z - (z * z * p - x * low));
}

// x = quadrant·pi/2 + high + low, with pi/2 in three parts (Cody and Waite): products with the quadrant are exact.
struct Reduced {
  double high, low;
  int quadrant;
};

Reduced reduce(double x) {
  constexpr double kTwoOverPi = 6.36619772367581382433e-01;
  constexpr double kPart1 = 1.57079632673412561417e+00, kPart2 = 6.07710050630396597660e-11,
                   kPart3 = 2.02226624879595063154e-21;
  const double n = std::nearbyint(x * kTwoOverPi);
  const double a = x - n * kPart1;
  const double b = n * kPart2;
  const double r = a - b;
  const double rest = (a - r) - b;
  const double high = r + (rest - n * kPart3);
  const double low = (r - high) + (rest - n * kPart3);
  return {high, low, static_cast<int>(static_cast<int64_t>(n) & 3)};
}

}  // namespace

double exact_exp(double x) {
  if (std::isnan(x)) return x;
  if (x > 709.79) return std::numeric_limits<double>::infinity();
  if (x < -745.2) return 0.0;
  const double n = std::nearbyint(x * 1.44269504088896338700);
  const double high = x - n * kLn2High, low = n * kLn2Low;
  const double r = high - low;
  double p = 1.0 / 6227020800.0;  // 1/13!
  for (double denominator : {479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0})
    p = p * r + 1.0 / denominator;
  const double tail = (high - r) - low;  // what rounding r lost
  const double y = 1.0 + (r + (0.5 * r * r + (r * r * r * p + tail)));
  return scale_by_power_of_two(y, static_cast<int>(n));
}

double exact_log(double x) {
  if (std::isnan(x) || x < 0) return std::numeric_limits<double>::quiet_NaN();
  if (x == 0) return -std::numeric_limits<double>::infinity();
  if (std::isinf(x)) return x;
  int exponent = 0;
  double m = std::frexp(x, &exponent);  // [0.5, 1)
  if (m < 0.70710678118654752440) {
    m *= 2;
    --exponent;
  }
  const double f = m - 1.0;  // exact; log(1+f) = f - f²/2 + s(f²/2 + R(s²)), s = f/(2+f)
  const double s = f / (2.0 + f), z = s * s;
  double p = 2.0 / 25.0;
  for (double odd : {23.0, 21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0}) p = p * z + 2.0 / odd;
  const double half_square = 0.5 * f * f, n = exponent;
  return n * kLn2High - ((half_square - (s * (half_square + z * p) + n * kLn2Low)) - f);
}

double exact_pow(double x, double y) {
  return exact_exp(y * exact_log(x));
}

double exact_sin(double x) {
  const Reduced r = reduce(x);
  const double value = r.quadrant & 1 ? cos_series(r.high, r.low) : sin_series(r.high, r.low);
  return r.quadrant & 2 ? -value : value;
}

double exact_cos(double x) {
  const Reduced r = reduce(x);
  const double value = r.quadrant & 1 ? sin_series(r.high, r.low) : cos_series(r.high, r.low);
  return (r.quadrant == 1 || r.quadrant == 2) ? -value : value;
}

}  // namespace candor
