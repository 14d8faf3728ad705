// Expected numbers: SciPy 1.17.1, by the calls in the comments.
#include "statistics/distributions.h"

#include <gtest/gtest.h>

#include <cmath>

namespace candor::statistics {
namespace {

void expect_relative(double value, double expected, double tolerance) {
  EXPECT_LE(std::abs(value - expected), tolerance * std::abs(expected)) << value << " expected " << expected;
}

TEST(Distributions, LogGamma) {           // scipy.special.gammaln(x)
  EXPECT_NEAR(log_gamma(1), 0.0, 1e-14);  // log Γ(12) = 17.5 minus itself, rounded twice
  const double table[][2] = {{0.1, 2.252712651734206},  {0.5, 0.5723649429247},     {3.7, 1.428072326665388},
                             {11.9, 17.25847745059552}, {50.25, 145.5418715963321}, {1e3, 5905.220423209181},
                             {1e5, 1051287.7089736569}};
  for (const auto& [x, expected] : table) expect_relative(log_gamma(x), expected, 1e-14);  // a few roundings
}

TEST(Distributions, IncompleteBeta) {  // scipy.special.betainc(a, b, x)
  struct Row {
    double a, b, x, expected;
  };
  const Row table[] = {{0.5, 0.5, 0.3, 0.36901011956554536},    {2, 3, 0.4, 0.5247999999999999},
                       {10, 1, 0.9, 0.34867844010000004},       {50, 60, 0.45, 0.4642352914306031},
                       {500, 500, 0.45, 0.0007636789395264955}, {1, 40, 0.01, 0.3310282414303195},
                       {3, 7, 1e-6, 8.399962200075597e-17}};
  // the logarithms of the front factor cancel: about lgamma(a+b) = 6e3 times 1e-16
  for (const Row& r : table) expect_relative(incomplete_beta(r.a, r.b, r.x), r.expected, 3e-12);
  expect_relative(incomplete_beta(40000, 60000, 0.398), 0.09830258481472025, 1e-9);  // lgamma(1e5) = 1e6 times 1e-16
  EXPECT_EQ(incomplete_beta(2, 3, 0), 0.0);
  EXPECT_EQ(incomplete_beta(2, 3, 1), 1.0);
}

TEST(Distributions, IncompleteBetaInverse) {  // scipy.special.betaincinv(a, b, p)
  expect_relative(incomplete_beta_inverse(2, 3, 0.4), 0.3291665033784079, 1e-13);
  expect_relative(incomplete_beta_inverse(1, 40, 0.025), 0.0006327449320494191, 1e-13);
  expect_relative(incomplete_beta_inverse(64, 37, 0.975), 0.7244334203854486, 1e-13);
  expect_relative(incomplete_beta_inverse(500, 501, 0.025), 0.46854917297179194, 1e-12);
  expect_relative(incomplete_beta_inverse(0.5, 0.5, 1e-3), 2.4673990709169446e-06, 1e-12);
}

TEST(Distributions, BinomialTails) {  // scipy.stats.binom.cdf(k, n, p), scipy.stats.binom.sf(k - 1, n, p)
  struct Row {
    int64_t k, n;
    double p, at_most, at_least, tolerance;  // tolerance: as in IncompleteBeta
  };
  const Row table[] = {{0, 10, 0.5, 0.0009765625, 1.0, 1e-14},
                       {3, 10, 0.5, 0.171875, 0.9453125, 1e-14},
                       {7, 64, 0.1, 0.6921707907845002, 0.4609611564716897, 1e-13},
                       {30, 100, 0.47, 0.0003953818107308249, 0.9998185055661136, 1e-12},
                       {450, 1000, 0.5, 0.0008652680424881513, 0.999304129202789, 3e-12},
                       {49000, 100000, 0.5, 1.2943580191734472e-10, 0.9999999998757588, 1e-9}};
  for (const Row& r : table) {
    expect_relative(binomial_at_most(r.k, r.n, r.p), r.at_most, r.tolerance);
    expect_relative(binomial_at_least(r.k, r.n, r.p), r.at_least, r.tolerance);
  }
  EXPECT_EQ(binomial_at_most(-1, 5, 0.3), 0.0);
  EXPECT_EQ(binomial_at_most(5, 5, 0.3), 1.0);
  EXPECT_EQ(binomial_at_least(6, 5, 0.3), 0.0);
  EXPECT_EQ(binomial_at_least(0, 0, 0.3), 1.0);
}

TEST(Distributions, Normal) {  // scipy.stats.norm.cdf(z), scipy.stats.norm.ppf(p)
  const double cdf[][2] = {{-8, 6.22096057427174e-16},
                           {-3.5, 0.00023262907903552502},
                           {-3, 0.0013498980316300933},
                           {-2.5, 0.006209665325776132},
                           {-1.96, 0.024997895148220435},
                           {-0.1, 0.460172162722971},
                           {0, 0.5},
                           {0.7, 0.758036347776927},
                           {2.999, 0.9986456634662729},
                           {5, 0.9999997133484281}};
  for (const auto& [z, expected] : cdf) expect_relative(normal_cdf(z), expected, 1e-12);  // 0.5 - series, at z = -3
  const double ppf[][2] = {{1e-10, -6.361340902404056},
                           {1e-3, -3.090232306167813},
                           {0.025, -1.9599639845400545},
                           {0.2, -0.8416212335729142},
                           {0.5, 0.0},
                           {0.8, 0.8416212335729143},
                           {0.975, 1.959963984540054},
                           {0.9999, 3.719016485455709}};
  for (const auto& [p, expected] : ppf) EXPECT_NEAR(normal_quantile(p), expected, 1e-12);  // 1 - 0.9999 is rounded
}

}  // namespace
}  // namespace candor::statistics
