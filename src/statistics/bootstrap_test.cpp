#include "statistics/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "statistics/distributions.h"

namespace candor::statistics {
namespace {

const std::vector<double> kValues{0.2,  1.5, -0.3, 0.9,  2.2, 0.1,  -1.0, 0.4,
                                  0.75, 1.1, 0.05, -0.6, 1.9, 0.33, 0.8,  -0.2};

// scipy.stats.bootstrap((v,), np.mean, n_resamples=100000, method="percentile"), mean of 20 seeds: 0.0996, 0.9322; one
// seed's standard deviation there is 0.0017, so about 0.0055 at 10000 resamples: four of those.
TEST(Bootstrap, AgreesWithScipy) {
  for (uint64_t seed : {0, 1, 2}) {
    const Interval i = bootstrap_mean(kValues, {10000, 0.95, seed});
    EXPECT_NEAR(i.low, 0.0996, 0.022);
    EXPECT_NEAR(i.high, 0.9322, 0.022);
  }
}

// Two values 0 and 1: a resample's mean is 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
TEST(Bootstrap, TwoValuesOnPaper) {
  const std::vector<double> values{0, 1};
  EXPECT_EQ(bootstrap_mean(values).low, 0.0);
  EXPECT_EQ(bootstrap_mean(values).high, 1.0);
  const Interval half = bootstrap_mean(values, {10000, 0.4, 0});  // the 30% and 70% quantiles
  EXPECT_EQ(half.low, 0.5);
  EXPECT_EQ(half.high, 0.5);
}

TEST(Bootstrap, ADifferenceDrawsEitherSampleByItself) {
  // Against a constant it is the interval of the mean; of a sample and itself its width is the square root of 2 larger.
  const Interval mean = bootstrap_mean(kValues), shifted = bootstrap_difference(kValues, std::vector<double>{2.0, 2.0});
  EXPECT_DOUBLE_EQ(shifted.low, mean.low - 2);
  EXPECT_DOUBLE_EQ(shifted.high, mean.high - 2);
  const Interval same = bootstrap_difference(kValues, kValues);
  EXPECT_NEAR((same.high - same.low) / (mean.high - mean.low), std::sqrt(2.0), 0.05);  // 10000 resamples
  EXPECT_NEAR(same.low + same.high, 0.0, 0.05);
  EXPECT_TRUE(std::isnan(bootstrap_difference(kValues, {}).low));
}

TEST(Bootstrap, PureFunctionOfItsSeed) {
  const Interval a = bootstrap_mean(kValues), b = bootstrap_mean(kValues),
                 c = bootstrap_mean(kValues, {10000, 0.95, 9});
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
  EXPECT_NE(a.low, c.low);
}

TEST(Bootstrap, DegenerateInputs) {
  EXPECT_TRUE(std::isnan(bootstrap_mean({}).low));
  const std::vector<double> one{3.0};
  EXPECT_EQ(bootstrap_mean(one).low, 3.0);
  EXPECT_EQ(bootstrap_mean(one).high, 3.0);
}

double weighted_share(const std::vector<double>& weights, const std::vector<uint8_t>& yes) {
  double sum = 0, of = 0;
  for (size_t i = 0; i < yes.size(); ++i) {
    of += weights[i];
    if (yes[i]) sum += weights[i];
  }
  return sum / of;
}

// The weighted share of k in n with half an item of either outcome is Beta(k + 1/2, n - k + 1/2), by the sums of
// Gammas. Quantiles of 20000 resamples have an error of some 0.002 here.
TEST(BayesianBootstrap, AShareWithHalvesIsJeffreysBeta) {
  for (const size_t k : {size_t{0}, size_t{3}, size_t{20}}) {
    std::vector<uint8_t> yes(22);
    for (size_t i = 0; i < k; ++i) yes[i] = 1;
    yes[20] = 1;  // the halves
    const Interval interval = bayesian_bootstrap(std::vector<Resampled>{{20, 2}},
                                                 [&](auto weights) { return weighted_share(weights[0], yes); },
                                                 {.resamples = 20000, .seed = k});
    const double a = static_cast<double>(k) + 0.5, b = 20.5 - static_cast<double>(k);
    EXPECT_NEAR(interval.low, incomplete_beta_inverse(a, b, 0.025), 0.01) << k;
    EXPECT_NEAR(interval.high, incomplete_beta_inverse(a, b, 0.975), 0.01) << k;
  }
}

// Of means it is Efron's interval to a few percent: 16 values.
TEST(BayesianBootstrap, OfAMeanItIsAsWideAsEfrons) {
  const Interval interval = bayesian_bootstrap(std::vector<Resampled>{{16, 0}}, [&](auto weights) {
    double sum = 0, of = 0;
    for (size_t i = 0; i < kValues.size(); ++i) {
      sum += weights[0][i] * kValues[i];
      of += weights[0][i];
    }
    return sum / of;
  });
  const Interval efron = bootstrap_mean(kValues);
  EXPECT_NEAR(interval.high - interval.low, efron.high - efron.low, 0.1 * (efron.high - efron.low));
  EXPECT_NEAR(interval.low + interval.high, efron.low + efron.high, 0.05);
}

// Were both samples weighted by the same draws, the difference of a sample and itself would be 0 always.
TEST(BayesianBootstrap, SamplesAreDrawnEachByItself) {
  const std::vector<uint8_t> yes{1, 0, 1, 0, 1, 1, 0, 0, 1, 0};
  const Interval interval = bayesian_bootstrap(std::vector<Resampled>{{10, 0}, {10, 0}}, [&](auto weights) {
    return weighted_share(weights[0], yes) - weighted_share(weights[1], yes);
  });
  EXPECT_LT(interval.low, -0.2);
  EXPECT_GT(interval.high, 0.2);
}

TEST(BayesianBootstrap, WhatIsUndefinedIsLeftOut) {
  int64_t calls = 0;
  const auto every_other = [&](auto) { return calls++ % 2 == 0 ? 3.0 : std::nan(""); };
  EXPECT_EQ(bayesian_bootstrap({}, every_other).low, 3.0);
  EXPECT_TRUE(std::isnan(bayesian_bootstrap({}, [](auto) { return std::nan(""); }).high));
}

}  // namespace
}  // namespace candor::statistics
