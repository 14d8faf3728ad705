#include <gtest/gtest.h>

#include <cmath>

#include "cli/bench_cost.h"

namespace candor::cli {
namespace {

TEST(Bench, ExponentOfAPowerIsThatPower) {
  const std::vector<double> sizes = {64, 128, 256, 1000};
  std::vector<double> seconds;
  for (double size : sizes) seconds.push_back(3e-4 * std::pow(size, 1.7));
  EXPECT_NEAR(exponent_of(sizes, seconds), 1.7, 1e-12);  // four logarithms, each right to an ulp
}

}  // namespace
}  // namespace candor::cli
