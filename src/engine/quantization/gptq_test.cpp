// GPTQ against what it promises: the outputs of a layer, on its inputs, come out closer than by rounding to nearest.
#include "engine/quantization/gptq.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/half.h"
#include "base/rng.h"
#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;

// Inputs whose columns hang together, and some of which are large, as those of real layers are.
std::vector<double> correlated_moments(int64_t width, int64_t tokens) {
  const RngKey key{5, RngStream::kData, 0, 0};
  std::vector<double> moments(static_cast<size_t>(width * width)), x(static_cast<size_t>(width));
  uint64_t draw = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    const double shared[] = {random_normal(key, draw), random_normal(key, draw + 1), random_normal(key, draw + 2)};
    draw += 3;
    for (int64_t i = 0; i < width; ++i)
      x[i] = (i % 17 == 3 ? 6.0 : 1.0) * (random_normal(key, draw++) + shared[i % 3] + 0.5 * shared[(i / 7) % 3]);
    for (int64_t i = 0; i < width; ++i)
      for (int64_t j = 0; j < width; ++j) moments[i * width + j] += x[i] * x[j];
  }
  return moments;
}

std::vector<float> random_weights(int64_t rows, int64_t width) {
  std::vector<float> w;
  for (int64_t i = 0; i < rows * width; ++i)
    w.push_back(static_cast<float>(0.1 * random_normal({6, RngStream::kData, 0, 1}, static_cast<uint64_t>(i))));
  return w;
}

// (w − q) H (w − q)ᵀ over all rows.
double output_error(const std::vector<float>& w, const std::vector<float>& q, const std::vector<double>& h,
                    int64_t width) {
  double sum = 0;
  for (size_t row = 0; row < w.size(); row += static_cast<size_t>(width))
    for (int64_t i = 0; i < width; ++i)
      for (int64_t j = 0; j < width; ++j)
        sum += (static_cast<double>(w[row + i]) - static_cast<double>(q[row + i])) * h[i * width + j] *
               (static_cast<double>(w[row + j]) - static_cast<double>(q[row + j]));
  return sum;
}

struct Rounded {
  std::vector<int8_t> codes;
  std::vector<GroupGrid> grids;
  std::vector<float> values;
};

Rounded rounded_by(Bench& bench, const WeightType& type, const HessianFactor& factor, const std::vector<float>& w) {
  const int64_t width = factor.width, rows = static_cast<int64_t>(w.size()) / width;
  Rounded r{std::vector<int8_t>(w.size()), std::vector<GroupGrid>(w.size() / kGroup), {}};
  gptq(bench.pool, bench.context->kernels, type, factor, w.data(), rows, r.codes.data(), r.grids.data());
  for (size_t i = 0; i < w.size(); ++i) r.values.push_back(r.grids[i / kGroup].value(r.codes[i]));
  return r;
}

// Each group by itself, with the smallest error of the weights: what GPTQ is without what it is about.
std::vector<float> alone(const WeightType& type, const std::vector<float>& w, const float* costs, int64_t width) {
  std::vector<float> values;
  for (size_t at = 0; at < w.size(); at += kGroup) {
    const GroupGrid grid = least_error_grid(type, w.data() + at, costs + static_cast<int64_t>(at) % width);
    for (int64_t i = 0; i < kGroup; ++i)
      values.push_back(grid.value(nearest_code(type, grid, w[at + static_cast<size_t>(i)])));
  }
  return values;
}

constexpr int64_t kWidth = 96, kRows = 37;

class Gptq : public ::testing::TestWithParam<const char*> {};

TEST_P(Gptq, OutputsComeOutCloserThanByRoundingEachGroupAlone) {
  Bench bench;
  const WeightType type = *find_weight_type(GetParam());
  const std::vector<double> moments = correlated_moments(kWidth, 400);
  const std::vector<float> w = random_weights(kRows, kWidth);
  std::vector<double> h = moments;
  const auto factor = factor_hessian(bench.pool, h, kWidth, 0.01);
  ASSERT_TRUE(factor);
  const double error = output_error(w, rounded_by(bench, type, *factor, w).values, moments, kWidth);
  const std::vector<float> ones(kWidth, 1.0f);
  const double nearest = output_error(w, alone(type, w, ones.data(), kWidth), moments, kWidth),
               weighted = output_error(w, alone(type, w, factor->costs.data(), kWidth), moments, kWidth);
  // Half of what rounding each group alone loses, also where the errors are weighted as here.
  EXPECT_LT(error, 0.5 * nearest);
  EXPECT_LT(error, 0.5 * weighted);

  // The broken twin: the errors of the columns before are forgotten.
  HessianFactor broken = *factor;
  std::fill(broken.rows.begin(), broken.rows.end(), 0.0f);
  const double without = output_error(w, rounded_by(bench, type, broken, w).values, moments, kWidth);
  EXPECT_GT(without, 0.5 * weighted);
  // And with the wrong sign they are made worse.
  broken = *factor;
  for (float& ratio : broken.rows) ratio = -ratio;
  EXPECT_GT(output_error(w, rounded_by(bench, type, broken, w).values, moments, kWidth), nearest);
}

INSTANTIATE_TEST_SUITE_P(Types, Gptq, ::testing::Values("q4_0", "q4_1", "int3", "int2", "q8_0"));

TEST(Gptq, ThreadsAndNeighbouringRowsChangeNothing) {
  const WeightType type = *find_weight_type("q4_1");
  const std::vector<float> w = random_weights(kRows, kWidth);
  Bench one(1), three(3);
  std::vector<double> h = correlated_moments(kWidth, 400), again = h;
  const auto factor = factor_hessian(one.pool, h, kWidth, 0.01),
             other = factor_hessian(three.pool, again, kWidth, 0.01);
  EXPECT_EQ(factor->rows, other->rows);
  EXPECT_EQ(factor->costs, other->costs);
  const Rounded all = rounded_by(one, type, *factor, w);
  EXPECT_EQ(rounded_by(three, type, *factor, w).codes, all.codes);
  const std::vector<float> row(w.begin() + 20 * kWidth, w.begin() + 21 * kWidth);
  const Rounded single = rounded_by(one, type, *factor, row);
  EXPECT_EQ(single.values, std::vector<float>(all.values.begin() + 20 * kWidth, all.values.begin() + 21 * kWidth));
}

TEST(Gptq, UncorrelatedInputsLeaveEachGroupAlone) {
  Bench bench;
  const WeightType type = *find_weight_type("q4_0");
  std::vector<double> h(kWidth * kWidth, 0.0);
  for (int64_t i = 0; i < kWidth; ++i) h[i * kWidth + i] = 2.0;
  const auto factor = factor_hessian(bench.pool, h, kWidth, 0.01);
  const std::vector<float> w = random_weights(kRows, kWidth);
  EXPECT_EQ(rounded_by(bench, type, *factor, w).values, alone(type, w, factor->costs.data(), kWidth));
}

// H = LᵀL, to the last digits of float32.
TEST(FactorHessian, IsADecompositionOfTheDampedMatrix) {
  Bench bench;
  constexpr int64_t kOdd = 131;  // more than one block of columns, and no multiple of one
  std::vector<double> h = correlated_moments(kOdd, 300);
  const std::vector<double> original = h;
  double mean = 0;
  for (int64_t i = 0; i < kOdd; ++i) mean += original[i * kOdd + i] / kOdd;
  const auto factor = factor_hessian(bench.pool, h, kOdd, 0.01);
  ASSERT_TRUE(factor);
  auto l = [&](int64_t j, int64_t i) {
    const double diagonal = std::sqrt(static_cast<double>(factor->costs[j]) * mean);
    return i == j ? diagonal : i < j ? static_cast<double>(factor->rows[j * kOdd + i]) * diagonal : 0.0;
  };
  for (int64_t a = 0; a < kOdd; ++a)
    for (int64_t b = 0; b < kOdd; ++b) {
      double sum = 0;
      for (int64_t j = 0; j < kOdd; ++j) sum += l(j, a) * l(j, b);
      // sums of 131 products of float32 numbers, each good to 6e-8 of at most 36 times the mean
      EXPECT_NEAR(sum, original[a * kOdd + b] + (a == b ? 0.01 * mean : 0.0), 3e-5 * mean);
    }
}

TEST(FactorHessian, DeadInputsAndBrokenMoments) {
  Bench bench;
  std::vector<double> h = correlated_moments(kWidth, 400);
  for (int64_t i = 0; i < kWidth; ++i) h[7 * kWidth + i] = h[i * kWidth + 7] = 0;  // this input is always 0
  const auto factor = factor_hessian(bench.pool, h, kWidth, 0.01);
  ASSERT_TRUE(factor);
  EXPECT_GT(factor->costs[7], 0.5f);
  std::vector<double> none(kWidth * kWidth, 0.0), nan = correlated_moments(kWidth, 10);
  EXPECT_TRUE(factor_hessian(bench.pool, none, kWidth, 0.01));
  nan[5] = NAN;
  nan[5 * kWidth] = NAN;
  EXPECT_FALSE(factor_hessian(bench.pool, nan, kWidth, 0.01));
}

TEST(LeastErrorGrid, IsNeverWorseThanTheExtremes) {
  auto half = [](float x) { return half_to_float(float_to_half(x)); };
  for (const char* name : {"q8_0", "q4_0", "q4_1", "int3", "int2"}) {
    SCOPED_TRACE(name);
    const WeightType type = *find_weight_type(name);
    const std::vector<float> w = random_weights(50, kGroup), ones(kGroup, 1.0f);
    double best = 0, plain = 0;
    for (size_t at = 0; at < w.size(); at += kGroup) {
      const auto [low, high] =
          std::minmax_element(w.begin() + static_cast<int64_t>(at), w.begin() + static_cast<int64_t>(at) + kGroup);
      const float extreme = std::abs(*low) > std::abs(*high) ? *low : *high;
      const GroupGrid by_range = type.has_minimum
                                     ? GroupGrid{half((*high - *low) / static_cast<float>(type.high)), half(*low)}
                                     : GroupGrid{half(extreme / static_cast<float>(type.low)), 0};
      const GroupGrid grid = least_error_grid(type, w.data() + at, ones.data());
      auto error = [&](const GroupGrid& g) {
        double sum = 0;
        for (size_t i = at; i < at + kGroup; ++i) sum += std::pow(w[i] - g.value(nearest_code(type, g, w[i])), 2);
        return sum;
      };
      EXPECT_LE(error(grid), 1.000001 * error(by_range));  // float against double
      best += error(grid), plain += error(by_range);
    }
    EXPECT_LT(best, (type.high > 15 ? 1.0 : 0.9) * plain);  // a real gain where there are few codes
  }
}

TEST(LeastErrorGrid, WeightsDecideWhatIsKept) {
  const WeightType type = *find_weight_type("int2");
  std::vector<float> x = random_weights(1, kGroup), weights(kGroup, 1.0f);
  weights[9] = 1e6f;
  const GroupGrid grid = least_error_grid(type, x.data(), weights.data());
  const GroupGrid plain = least_error_grid(type, x.data(), std::vector<float>(kGroup, 1.0f).data());
  const float off = std::abs(x[9] - grid.value(nearest_code(type, grid, x[9])));
  EXPECT_LT(off, std::abs(x[9] - plain.value(nearest_code(type, plain, x[9]))));
}

}  // namespace
}  // namespace candor::engine
