#include "belief/estimate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace candor::belief {
namespace {

// Controls whose calls are given: of `of` positive ones `found` are called, of `of` negative ones `rejected` are not.
struct Called {
  std::vector<Control> controls;
  ControlCalls calls;

  Called(int64_t of, int64_t found, int64_t rejected) : controls(static_cast<size_t>(2 * of)) {
    for (int64_t i = 0; i < 2 * of; ++i) {
      Control& control = controls[static_cast<size_t>(i)];
      control.kind = i < of ? ControlKind::kRecalledAll : ControlKind::kInstructed;
      control.answers.id = std::to_string(i);
      calls.controls.push_back(&control);
      calls.called.push_back(i < of ? i < found : i - of >= rejected);
    }
    calls.sensitivity = share(found, of);
    calls.specificity = share(rejected, of);
  }
};

std::vector<uint8_t> calls_of(size_t yes, size_t of) {
  std::vector<uint8_t> out(of, 0);
  for (size_t i = 0; i < yes; ++i) out[i] = 1;
  return out;
}

// Se = 0.9, Sp = 0.8, p̂ = 0.48: π̂ = (0.48 - 0.2)/0.7 = 0.4.
TEST(Estimate, RoganGladenOnPaper) {
  EXPECT_NEAR(rogan_gladen(0.48, 0.9, 0.8), 0.4, 1e-15);
  EXPECT_NEAR(rogan_gladen(0.1, 0.9, 0.8), -0.1 / 0.7, 1e-15);
  EXPECT_TRUE(std::isnan(rogan_gladen(0.5, 0.5, 0.5)));
  EXPECT_TRUE(std::isnan(rogan_gladen(0.5, 0.2, 0.3)));
}

// Var = [0.48·0.52/200 + 0.4²·0.9·0.1/100 + 0.6²·0.8·0.2/100]/0.7² = [0.001248 + 0.000144 + 0.000576]/0.49.
TEST(Estimate, VarianceOnPaper) {
  const Called controls(100, 90, 80);
  const Estimate got = estimate(calls_of(96, 200), controls.calls, {});
  EXPECT_NEAR(got.believed, 0.4, 1e-12);
  EXPECT_NEAR(got.good_liar_rate(), 0.6, 1e-12);
  EXPECT_NEAR(got.standard_error, std::sqrt(0.001968 / 0.49), 1e-12);
  // In the middle the bootstrap is as wide as the formula; its quantiles are of 10,000 resamples.
  EXPECT_NEAR(got.interval.low, 0.4 - 1.96 * got.standard_error, 0.01);
  EXPECT_NEAR(got.interval.high, 0.4 + 1.96 * got.standard_error, 0.01);
}

TEST(Estimate, StaysWithin0And1AndKeepsAnInterval) {
  const Called controls(100, 90, 80);
  const Estimate none = estimate(calls_of(0, 200), controls.calls, {});
  EXPECT_EQ(none.believed, 0);
  EXPECT_LT(none.uncorrected, 0);
  EXPECT_EQ(none.interval.low, 0);
  const Estimate all = estimate(calls_of(200, 200), controls.calls, {});
  EXPECT_EQ(all.believed, 1);
  EXPECT_EQ(all.interval.high, 1);
  // Perfect controls and nothing called: drawing again gives the same 0 for ever; the halves keep the doubt.
  const Called perfect(100, 100, 100);
  EXPECT_GT(estimate(calls_of(0, 200), perfect.calls, {}).interval.high, 0.005);
  EXPECT_LT(estimate(calls_of(0, 200), perfect.calls, {}).interval.high, 0.04);
}

// Two controls of one proposition are no two witnesses.
TEST(Estimate, ControlsOfOneIdAreDrawnTogether) {
  Called controls(100, 90, 80);
  const auto width = [&] {
    const statistics::Interval got = estimate(calls_of(1000, 2000), controls.calls, {.resamples = 500}).interval;
    return got.high - got.low;
  };
  const double apart = width();
  for (size_t i = 0; i < controls.controls.size(); ++i) controls.controls[i].answers.id = std::to_string(i / 10);
  EXPECT_GT(width(), 1.5 * apart);  // groups of ten that fare alike: up to √10 times as wide
}

TEST(Estimate, AShareOfNothing) {
  const Share nothing = share(0, 0);
  EXPECT_TRUE(std::isnan(nothing.value));
  EXPECT_EQ(nothing.interval.low, 0);
  EXPECT_EQ(nothing.interval.high, 1);
  EXPECT_EQ(share(3, 4).value, 0.75);
}

}  // namespace
}  // namespace candor::belief
