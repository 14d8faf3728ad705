// The fit against scikit-learn, and by its own definition: the gradient at its optimum is zero.
#include "statistics/logistic_fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"

namespace candor::statistics {
namespace {

const std::vector<double> kFeatures{0.2,  1.0,  1.5, -0.5, -0.3, 0.4, 0.9, 2.0,  2.2,  -1.1, 0.1,  0.3,
                                    -1.0, -0.7, 0.4, 0.9,  0.75, 0.0, 1.1, -0.2, 0.05, 1.4,  -0.6, -1.3};
const std::vector<uint8_t> kLabels{0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0};
const std::vector<double> kWeights{1, 2, 0.5, 1, 1, 3, 1, 1, 0.25, 1, 1, 2};
const std::vector<double> kOffsets{0.3, -0.2, 0, 0.1, 0.5, -1, 0.2, 0, 0, -0.4, 0.6, 0.1};

void near(const LogisticFit& fit, double intercept, double first, double second, double tolerance) {
  EXPECT_TRUE(fit.converged);
  EXPECT_NEAR(fit.intercept, intercept, tolerance);
  EXPECT_NEAR(fit.coefficients[0], first, tolerance);
  EXPECT_NEAR(fit.coefficients[1], second, tolerance);
}

// scikit-learn 1.9.1: LogisticRegression(C=1/ridge, tol=1e-12, max_iter=100000).fit(x, y, sample_weight=w). Its L-BFGS
// stops some 1e-9 away.
TEST(LogisticFit, AgreesWithScikitLearn) {
  near(fit_logistic(kFeatures, kLabels), -0.7193551421681442, 1.2685278479076392, 0.5057894287354033, 1e-8);
  near(fit_logistic(kFeatures, kLabels, {}, kWeights), -0.8642890742197363, 1.5502937236323586, 0.48415460206983907,
       1e-8);
  near(fit_logistic(kFeatures, kLabels, {}, kWeights, {.ridge = 10}), -0.2661755826524954, 0.3780819194259385,
       0.12034708477922869, 1e-8);
}

// Offsets, which scikit-learn has not: fifty steps of Newton in NumPy, np.linalg.solve.
TEST(LogisticFit, OffsetsAgreeWithNumPy) {
  near(fit_logistic(kFeatures, kLabels, kOffsets, kWeights), -0.6536342434028394, 1.528142211853685,
       0.40088580994496487, 1e-12);
}

// By the definition in the header, in the test's own words.
double loss_of(const std::vector<double>& at, double ridge, bool offsets, bool weights) {
  double sum = ridge / 2 * (at[1] * at[1] + at[2] * at[2]);
  for (size_t i = 0; i < kLabels.size(); ++i) {
    const double eta = (offsets ? kOffsets[i] : 0) + at[0] + at[1] * kFeatures[2 * i] + at[2] * kFeatures[2 * i + 1];
    sum += (weights ? kWeights[i] : 1) * (std::log1p(std::exp(eta)) - (kLabels[i] ? eta : 0));
  }
  return sum;
}
double steepest(const LogisticFit& fit) {
  double largest = 0;
  for (size_t k = 0; k < 3; ++k) {
    std::vector<double> up{fit.intercept, fit.coefficients[0], fit.coefficients[1]}, down = up;
    up[k] += 1e-4;
    down[k] -= 1e-4;
    largest = std::max(largest, std::abs(loss_of(up, 2, true, true) - loss_of(down, 2, true, true)) / 2e-4);
  }
  return largest;
}
TEST(LogisticFit, TheGradientIsZeroThereAndNotAtItsTwins) {
  const LogisticOptions options{.ridge = 2};
  const double kFlat = 1e-7;  // differences of a loss of size 10 at steps of 1e-4
  EXPECT_LT(steepest(fit_logistic(kFeatures, kLabels, kOffsets, kWeights, options)), kFlat);
  std::vector<uint8_t> turned = kLabels;
  for (uint8_t& label : turned) label = !label;
  const std::vector<std::pair<std::string, std::function<LogisticFit()>>> twins{
      {"the offsets forgotten", [&] { return fit_logistic(kFeatures, kLabels, {}, kWeights, options); }},
      {"the weights forgotten", [&] { return fit_logistic(kFeatures, kLabels, kOffsets, {}, options); }},
      {"half of the ridge", [&] { return fit_logistic(kFeatures, kLabels, kOffsets, kWeights, {.ridge = 1}); }},
      {"labels turned round", [&] { return fit_logistic(kFeatures, turned, kOffsets, kWeights, options); }},
      {"one step too few",
       [&] { return fit_logistic(kFeatures, kLabels, kOffsets, kWeights, {.ridge = 2, .most_iterations = 2}); }},
  };
  for (const auto& [broken, fit] : twins) EXPECT_GT(steepest(fit()), 100 * kFlat) << broken;
}

TEST(LogisticFit, SeparatedLabelsHaveAFiniteFit) {
  std::vector<double> x;
  std::vector<uint8_t> y;
  for (int i = -10; i <= 10; ++i)
    if (i != 0) {
      x.push_back(100.0 * i);
      y.push_back(i > 0);
    }
  const LogisticFit fit = fit_logistic(x, y);
  EXPECT_TRUE(fit.converged);
  EXPECT_GT(fit.coefficients[0], 0);
  EXPECT_LT(fit.coefficients[0], 1);
  EXPECT_NEAR(fit.intercept, 0, 1e-9);  // symmetric
}

TEST(LogisticFit, OnlyAnInterceptIsTheLogOdds) {
  const std::vector<uint8_t> labels{1, 1, 1, 0};
  const LogisticFit fit = fit_logistic({}, labels);
  EXPECT_NEAR(fit.intercept, std::log(3.0), 1e-12);
  EXPECT_TRUE(fit.coefficients.empty());
  // Far offsets that already separate: the sums of both sides' doubts balance where the fit stays finite.
  const LogisticFit far = fit_logistic({}, std::vector<uint8_t>{1, 0}, std::vector<double>{60, -60});
  EXPECT_NEAR(far.intercept, 0, 1e-9);
}

TEST(LogisticFit, LabelsOfOneValueAndNoRows) {
  const LogisticFit one = fit_logistic(std::vector<double>{1, 2, 3}, std::vector<uint8_t>{1, 1, 1});
  EXPECT_EQ(one.intercept, 0);
  EXPECT_EQ(one.coefficients, std::vector<double>{0});
  EXPECT_FALSE(one.converged);
  const LogisticFit by_weight =
      fit_logistic(std::vector<double>{1, 2}, std::vector<uint8_t>{1, 0}, {}, std::vector<double>{1, 0});
  EXPECT_EQ(by_weight.intercept, 0);
  EXPECT_TRUE(fit_logistic({}, {}).coefficients.empty());
}

// The truth lies within four of its standard errors, some 0.05 for 2,000 rows.
TEST(LogisticFit, FindsWhatMadeTheLabels) {
  std::vector<double> x;
  std::vector<uint8_t> y;
  for (uint64_t i = 0; i < 2000; ++i) {
    x.push_back(random_normal({1, RngStream::kBootstrap, 0, 0}, i));
    const double p = 1 / (1 + std::exp(-(0.5 - 1.2 * x.back())));
    y.push_back(random_uniform({1, RngStream::kBootstrap, 1, 0}, i) < p);
  }
  const LogisticFit fit = fit_logistic(x, y);
  EXPECT_NEAR(fit.intercept, 0.5, 0.2);
  EXPECT_NEAR(fit.coefficients[0], -1.2, 0.25);
  EXPECT_NEAR(fit.log_odds(std::vector<double>{2.0}), fit.intercept + 2 * fit.coefficients[0], 1e-12);
}

}  // namespace
}  // namespace candor::statistics
