// Expected numbers: statsmodels 0.15.0, proportion_confint(k, n, 1 - confidence, "beta") and (…, "wilson").
#include "statistics/proportions.h"

#include <gtest/gtest.h>

#include <cmath>

#include "statistics/distributions.h"

namespace candor::statistics {
namespace {

TEST(Proportions, ClopperPearsonAndWilson) {
  struct Row {
    int64_t k, n;
    double confidence;
    Interval exact, score;
  };
  const Row table[] = {
      {0, 10, 0.95, {0.0, 0.3084971078187607}, {0.0, 0.2775327998628892}},
      {10, 10, 0.95, {0.6915028921812392, 1.0}, {0.7224672001371107, 1.0}},
      {5, 100, 0.95, {0.016431879182052158, 0.11283491110546275}, {0.02154367915436796, 0.11175046923191913}},
      {70, 100, 0.95, {0.600185323820196, 0.7875935795104634}, {0.6041514536665332, 0.7810511470506724}},
      {30, 100, 0.99, {0.18901476186012411, 0.43061355361652065}, {0.19746065620990516, 0.427427618876424}},
      {1, 1, 0.95, {0.025, 1.0}, {0.20654931437723745, 1.0}},
      {659, 1319, 0.95, {0.47228494155677786, 0.5269586008761282}, {0.4726779015313479, 0.5265661499811504}},
      {99999, 100000, 0.9, {0.9999525622428261, 0.9999994870671877}, {0.9999551767638987, 0.9999977690746312}}};
  for (const Row& r : table) {
    SCOPED_TRACE(std::to_string(r.k) + " of " + std::to_string(r.n));
    const Interval cp = clopper_pearson(r.k, r.n, r.confidence), w = wilson(r.k, r.n, r.confidence);
    // 1e-12: the rounding of I_x(a, b), see distributions_test.cpp
    EXPECT_NEAR(cp.low, r.exact.low, 1e-12);
    EXPECT_NEAR(cp.high, r.exact.high, 1e-12);
    EXPECT_NEAR(w.low, r.score.low, 1e-13);
    EXPECT_NEAR(w.high, r.score.high, 1e-13);
  }
}

TEST(Proportions, NoTrialsSayNothing) {
  for (const Interval& i : {clopper_pearson(0, 0), wilson(0, 0)}) {
    EXPECT_EQ(i.low, 0.0);
    EXPECT_EQ(i.high, 1.0);
  }
}

// The definition: at the exact bounds, the tail that was seen has probability (1 - confidence)/2. Its broken twins, the
// bounds of k-1 and k+1, fail the same equation.
TEST(Proportions, ClopperPearsonSolvesItsEquations) {
  const auto tail_at_low = [](int64_t seen, int64_t k) {
    return binomial_at_least(seen, 40, clopper_pearson(k, 40).low);
  };
  for (int64_t k = 1; k < 40; ++k) {
    EXPECT_NEAR(tail_at_low(k, k), 0.025, 1e-13) << k;
    EXPECT_NEAR(binomial_at_most(k, 40, clopper_pearson(k, 40).high), 0.025, 1e-13) << k;
    EXPECT_GT(std::abs(tail_at_low(k, k - 1) - 0.025), 1e-3) << k;
  }
}

}  // namespace
}  // namespace candor::statistics
