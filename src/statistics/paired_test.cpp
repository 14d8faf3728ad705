#include "statistics/paired.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "statistics/distributions.h"

namespace candor::statistics {
namespace {

TEST(Paired, Counts) {
  const std::vector<uint8_t> before{1, 1, 0, 0, 0, 1}, after{1, 0, 1, 1, 0, 1};
  const PairedCounts c = paired_counts(before, after);
  EXPECT_EQ(c.both, 2);
  EXPECT_EQ(c.only_before, 1);
  EXPECT_EQ(c.only_after, 2);
  EXPECT_EQ(c.neither, 1);
  EXPECT_DOUBLE_EQ(c.difference(), 1.0 / 6);
  EXPECT_EQ(PairedCounts{}.difference(), 0.0);
}

// statsmodels 0.15.0: mcnemar([[10, b], [c, 7]], exact=True).pvalue
TEST(Paired, McNemarExact) {
  struct Row {
    int64_t b, c;
    double p;
  };
  const Row table[] = {{0, 0, 1.0},
                       {1, 0, 1.0},
                       {0, 5, 0.0625},
                       {2, 13, 0.00738525390625},
                       {10, 10, 1.0},
                       {9, 11, 0.8238029479980469},
                       {4, 44, 1.5138326148189662e-09},
                       {101, 202, 6.730211312246537e-09},
                       {3, 61, 4.742842403537839e-15}};
  for (const Row& r : table) {
    EXPECT_NEAR(mcnemar_exact(r.b, r.c), r.p, 1e-12 * r.p) << r.b << " " << r.c;  // log-gamma's rounding
    EXPECT_EQ(mcnemar_exact(r.b, r.c), mcnemar_exact(r.c, r.b));
  }
  // Broken twins, which the table would reject: one-sided; a tail without the observed count.
  EXPECT_GT(std::abs(binomial_at_most(2, 15, 0.5) - 0.00738525390625), 1e-3);
  EXPECT_GT(std::abs(2 * binomial_at_most(1, 15, 0.5) - 0.00738525390625), 1e-3);
}

// Wilson's limits by statsmodels 0.15.0, proportion_confint(…, "wilson"), put together in Python by Newcombe's formula.
TEST(Paired, NewcombeInterval) {
  struct Row {
    PairedCounts counts;  // both, only before, only after, neither
    Interval expected;
  };
  const Row table[] = {{{36, 2, 12, 0}, {0.05692958400323875, 0.3404276029749408}},
                       {{12, 7, 2, 9}, {-0.3431279610310216, 0.030659673874181864}},
                       {{20, 2, 12, 16}, {0.05615642484174821, 0.32920699540014053}},
                       {{794, 150, 86, 570}, {-0.058703872895728836, -0.021230423982877018}},
                       {{5, 0, 20, 75}, {0.12126050929744293, 0.2874267660974627}},
                       {{30, 4, 44, 22}, {0.2798838637395933, 0.5017363460841865}},
                       {{0, 0, 0, 10}, {-0.27753279986288926, 0.27753279986288926}}};
  for (const Row& r : table) {
    const Interval got = paired_difference(r.counts);
    EXPECT_NEAR(got.low, r.expected.low, 1e-13);
    EXPECT_NEAR(got.high, r.expected.high, 1e-13);
  }
  EXPECT_EQ(paired_difference({}).low, -1.0);
  EXPECT_EQ(paired_difference({}).high, 1.0);
}

// The share of samples, over every table of n pairs, whose interval covers the true difference.
double coverage(int64_t n, double both, double before, double after, double confidence) {
  const double neither = 1 - both - before - after;
  double covered = 0;
  for (int64_t a = 0; a <= n; ++a)
    for (int64_t b = 0; a + b <= n; ++b)
      for (int64_t c = 0; a + b + c <= n; ++c) {
        const int64_t d = n - a - b - c;
        const auto ways = [](int64_t k) { return log_gamma(static_cast<double>(k) + 1); };
        const double log_p = ways(n) - ways(a) - ways(b) - ways(c) - ways(d) + a * std::log(both) +
                             b * std::log(before) + c * std::log(after) + d * std::log(neither);
        const Interval i = paired_difference({a, b, c, d}, confidence);
        if (i.low <= after - before && after - before <= i.high) covered += std::exp(log_p);
      }
  return covered;
}

TEST(Paired, NewcombeCoversWhatItPromises) {
  // n = 30, summed over all tables; the method is approximate, so 95% is met within a few points, not exactly.
  EXPECT_NEAR(coverage(30, 0.25, 0.05, 0.45, 0.95), 0.96, 0.03);
  EXPECT_NEAR(coverage(30, 0.3, 0.2, 0.2, 0.95), 0.96, 0.03);
  EXPECT_NEAR(coverage(30, 0.05, 0.02, 0.4, 0.95), 0.96, 0.03);
  EXPECT_LT(coverage(30, 0.3, 0.2, 0.2, 0.7), 0.85);  // a narrower one covers less: the check can fail
}

// Connor's equation solved by scipy.optimize.brentq with scipy.stats.norm.ppf (SciPy 1.17.1), and the exact power of
// the asymptotic McNemar test there, summed over both binomials with scipy.stats.binom.pmf: 0.8097, 0.8011.
TEST(Paired, MinimumDetectableDifference) {
  EXPECT_NEAR(minimum_detectable_difference(100, 0.4), 0.17510697786922796, 1e-12);
  EXPECT_NEAR(minimum_detectable_difference(1319, 0.3), 0.04221374014761801, 1e-12);
  EXPECT_NEAR(minimum_detectable_difference(200, 0.1, 0.01, 0.9), 0.08519412589704771, 1e-12);
  EXPECT_NEAR(minimum_detectable_difference(50, 1.0, 0.05, 0.5), 0.2771807648699356, 1e-12);
  EXPECT_TRUE(std::isnan(minimum_detectable_difference(5, 0.1)));  // five items cannot show anything
}

// scipy.stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=inf) (SciPy 1.17.1).
TEST(Paired, SignFlipsAllTried) {
  EXPECT_EQ(sign_flip_test(std::vector<double>{0.5, -0.25, 1.0, 0.75, 0.0, 0.3, -0.1}), 0.15625);
  EXPECT_EQ(sign_flip_test(std::vector<double>{1, 1, 1, -1, 1, 1}), 0.21875);  // McNemar's exact test of 5 against 1
  EXPECT_NEAR(mcnemar_exact(1, 5), 0.21875, 1e-12);                            // log-gamma's rounding
  EXPECT_EQ(sign_flip_test(std::vector<double>{0, 0}), 1.0);
  EXPECT_EQ(sign_flip_test({}), 1.0);
}

// Sixteen differences: drawn assignments, against SciPy's enumeration of all 65,536.
TEST(Paired, SignFlipsDrawn) {
  const std::vector<double> values{0.2,  1.5, -0.3, 0.9,  2.2, 0.1,  -1.0, 0.4,
                                   0.75, 1.1, 0.05, -0.6, 1.9, 0.33, 0.8,  -0.2};
  for (uint64_t seed : {0, 1, 2})  // standard deviation of a share of 0.036 over 20,000 draws: 0.0013; four of those
    EXPECT_NEAR(sign_flip_test(values, {20000, seed}), 0.036102294921875, 0.0053);
  EXPECT_EQ(sign_flip_test(values), sign_flip_test(values));
  const std::vector<double> all_up(60, 1.0);  // of 2^60 assignments two are as large: none is drawn, p is 1 of 20,000
  EXPECT_DOUBLE_EQ(sign_flip_test(all_up, {20000, 3}) * 20000, 1);
  std::vector<double> many(300);  // more than one block of random words; half up, half down
  for (size_t i = 0; i < many.size(); ++i) many[i] = i % 2 == 0 ? 1 : -1;
  EXPECT_EQ(sign_flip_test(many), 1.0);
}

// statsmodels 0.15.0: multipletests(p, method="holm")[1].
TEST(Paired, Holm) {
  const std::vector<double> p{0.01, 0.04, 0.03, 0.005, 0.2}, expected{0.04, 0.09, 0.09, 0.025, 0.2};
  const auto farthest = [&](const std::vector<double>& got) {
    double worst = got.size() == expected.size() ? 0 : 1;
    for (size_t i = 0; i < expected.size() && worst < 1; ++i) worst = std::max(worst, std::abs(got[i] - expected[i]));
    return worst;
  };
  EXPECT_LT(farthest(holm(p)), 1e-15);  // one product's rounding
  const std::vector<std::pair<std::string, std::vector<double>>> twins = {
      {"as they are", p},
      {"Bonferroni", {0.05, 0.2, 0.15, 0.025, 1}},
      {"not made to rise", {0.04, 0.08, 0.09, 0.025, 0.2}},
      {"Hochberg", {0.04, 0.08, 0.08, 0.025, 0.2}}};
  for (const auto& [name, twin] : twins) EXPECT_GT(farthest(twin), 1e-3) << name;
  EXPECT_NEAR(holm(std::vector<double>{0.5, 0.4, 0.02})[0], 0.8, 1e-15);
  EXPECT_NEAR(holm(std::vector<double>{0.5, 0.4, 0.02})[1], 0.8, 1e-15);
  EXPECT_EQ(holm(std::vector<double>{0.7, 0.9})[0], 1.0);
  EXPECT_TRUE(holm({}).empty());
}

// scipy.stats.norm.ppf: (ppf(0.975) + ppf(0.8))·0.35/√200 and (ppf(0.995) + ppf(0.9))·1.2/√31.
TEST(Paired, MinimumDetectableMean) {
  EXPECT_NEAR(minimum_detectable_mean(200, 0.35), 0.06933569670298853, 1e-13);  // the quantiles' last bits
  EXPECT_NEAR(minimum_detectable_mean(31, 1.2, 0.01, 0.9), 0.8313672672310101, 1e-12);
  EXPECT_EQ(minimum_detectable_mean(10, 0), 0);
}

}  // namespace
}  // namespace candor::statistics
