#include "base/math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace candor {
namespace {

// Error in units of the last place of the double nearest to the long double reference.
double ulps(double value, long double reference) {
  const double nearest = static_cast<double>(reference);
  const double unit = std::nextafter(std::abs(nearest), INFINITY) - std::abs(nearest);
  return static_cast<double>(std::abs(static_cast<long double>(value) - reference) / static_cast<long double>(unit));
}

TEST(ExactMath, WithinTwoUnitsOfLongDouble) {
  double worst_exp = 0, worst_log = 0, worst_sin = 0, worst_cos = 0;
  for (int i = 0; i < 200000; ++i) {
    const double t = (i + 0.37) / 200000.0;
    const double x = 1400.0 * t - 700.0;
    worst_exp = std::max(worst_exp, ulps(exact_exp(x), std::exp(static_cast<long double>(x))));
    const double y = std::exp(60.0 * t - 30.0);
    worst_log = std::max(worst_log, ulps(exact_log(y), std::log(static_cast<long double>(y))));
    const double angle = 1e6 * t;  // positions times frequencies
    worst_sin = std::max(worst_sin, ulps(exact_sin(angle), std::sin(static_cast<long double>(angle))));
    worst_cos = std::max(worst_cos, ulps(exact_cos(angle), std::cos(static_cast<long double>(angle))));
  }
  EXPECT_LT(worst_exp, 2.0);
  EXPECT_LT(worst_log, 2.0);
  EXPECT_LT(worst_sin, 2.0);
  EXPECT_LT(worst_cos, 2.0);
}

TEST(ExactMath, EndsOfTheRange) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(exact_exp(0.0), 1.0);
  EXPECT_EQ(exact_exp(1000.0), kInfinity);
  EXPECT_EQ(exact_exp(-1000.0), 0.0);
  EXPECT_NEAR(exact_exp(-740.0) / std::exp(-740.0), 1.0, 1e-1);  // a denormal has few digits
  EXPECT_TRUE(std::isnan(exact_exp(NAN)));
  EXPECT_EQ(exact_log(1.0), 0.0);
  EXPECT_EQ(exact_log(0.0), -kInfinity);
  EXPECT_EQ(exact_log(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(exact_log(-1.0)));
  EXPECT_EQ(exact_sin(0.0), 0.0);
  EXPECT_EQ(exact_cos(0.0), 1.0);
  EXPECT_NEAR(exact_pow(10000.0, -0.25), 0.1, 1e-16);
}

}  // namespace
}  // namespace candor
