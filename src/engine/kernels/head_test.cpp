// The head's kernels: a row of logits over vocabulary blocks, forward and backward.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/kernels/test_numbers.h"

namespace candor::engine {
namespace {

constexpr int64_t kBlock = 512;

HeadState run_head(const Kernels& kernels, const Floats& logits, float inverse_temperature, int64_t target) {
  HeadState state = initial_head_state();
  const int64_t n = static_cast<int64_t>(logits.size());
  for (int64_t at = 0; at < n; at += kBlock)
    kernels.head_block(logits.data() + at, std::min(kBlock, n - at), at, inverse_temperature, target, &state);
  return state;
}

double log_sum_of(const HeadState& state) {
  return state.maximum + std::log(state.sum);
}
double entropy_of(const HeadState& state) {
  return std::log(state.sum) - state.weighted_sum / state.sum;
}

// The same three numbers in double, from logits rounded as the kernels round them.
struct Truth {
  double log_sum = 0, entropy = 0;
  std::vector<double> p;
};

Truth truth_of(const Floats& logits, float inverse_temperature) {
  Truth out;
  double maximum = -1e300, sum = 0;
  for (const float x : logits) maximum = std::max(maximum, static_cast<double>(x * inverse_temperature));
  for (const float x : logits) sum += std::exp(x * inverse_temperature - maximum);
  out.log_sum = maximum + std::log(sum);
  for (const float x : logits) {
    const double log_p = x * inverse_temperature - out.log_sum;
    out.p.push_back(std::exp(log_p));
    out.entropy -= std::exp(log_p) * log_p;
  }
  return out;
}

TEST(Head, LogSumEntropyTargetAndArgmax) {
  for (const Kernels* kernels : levels()) {
    for (const int64_t vocabulary : {1, 163, 512, 49152}) {
      for (const float spread : {0.0f, 1.0f, 30.0f}) {
        for (const float inverse_temperature : {1.0f, 1.43f}) {
          Floats logits = noise(vocabulary, 9);
          for (float& x : logits) x = 25 + spread * x;
          const int64_t target = vocabulary * 2 / 3;
          const HeadState state = run_head(*kernels, logits, inverse_temperature, target);
          const Truth truth = truth_of(logits, inverse_temperature);
          // 1.5 ulp of exp and the rounding of z - maximum, averaged over the sum.
          EXPECT_NEAR(log_sum_of(state), truth.log_sum, 4e-7) << kernels->name << " " << vocabulary << " " << spread;
          EXPECT_NEAR(entropy_of(state), truth.entropy, 3e-6) << kernels->name << " " << vocabulary << " " << spread;
          EXPECT_EQ(state.target, logits[static_cast<size_t>(target)] * inverse_temperature);
          EXPECT_EQ(state.argmax, std::max_element(logits.begin(), logits.end()) - logits.begin());
        }
      }
    }
  }
}

TEST(Head, ProbabilitiesSumToOneWithinAMillionth) {
  for (const Kernels* kernels : levels()) {
    for (const int64_t vocabulary : {163, 49152}) {
      for (const float spread : {0.01f, 1.0f, 30.0f}) {
        Floats logits = noise(vocabulary, 11);
        for (float& x : logits) x = 40 + spread * x;
        const HeadState state = run_head(*kernels, logits, 1, -1);
        // Through the backward kernel: with logprob_coefficient -1 and no target it leaves p.
        const HeadGradient gradient{log_sum_of(state), 0, -1, 0};
        for (int64_t at = 0; at < vocabulary; at += kBlock)
          kernels->head_block_backward(logits.data() + at, std::min(kBlock, vocabulary - at), at, 1, -1, gradient);
        double sum = 0;
        for (const float p : logits) sum += p;
        EXPECT_LT(std::abs(sum - 1), 1e-6) << kernels->name << " " << vocabulary << " " << spread;
      }
    }
  }
}

TEST(Head, TiesGoToTheSmallestId) {
  for (const Kernels* kernels : levels()) {
    Floats logits(1500, -3.0f);
    logits[700] = logits[701] = logits[1300] = 2;
    EXPECT_EQ(run_head(*kernels, logits, 1, -1).argmax, 700) << kernels->name;
  }
}

TEST(Head, ANanOrAnInfiniteLogitSurfaces) {
  for (const Kernels* kernels : levels()) {
    for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
      for (const size_t at : {size_t{0}, size_t{5}, size_t{511}, size_t{512}, size_t{699}}) {
        Floats logits = noise(700, 3);
        logits[at] = bad;
        const HeadState state = run_head(*kernels, logits, 1, -1);
        EXPECT_TRUE(std::isnan(state.sum)) << kernels->name << " " << bad << " at " << at;
      }
    }
    Floats one_block(512, std::nanf(""));
    one_block.resize(600, 1.0f);
    EXPECT_TRUE(std::isnan(run_head(*kernels, one_block, 1, -1).sum)) << kernels->name;
  }
}

TEST(Head, BackwardEqualsFiniteDifferences) {
  for (const Kernels* kernels : levels()) {
    const float inverse_temperature = 1.25f, logprob_coefficient = 0.7f, entropy_coefficient = -0.4f;
    const Floats logits = [] {
      Floats x = noise(523, 5);
      for (float& v : x) v *= 4;
      return x;
    }();
    for (const int64_t target : {3, 515, 522}) {
      auto loss = [&](size_t moved, double by) {
        double sum = 0, weighted = 0;
        auto z = [&](size_t i) { return (logits[i] + (i == moved ? by : 0.0)) * inverse_temperature; };
        for (size_t i = 0; i < logits.size(); ++i) sum += std::exp(z(i)), weighted += z(i) * std::exp(z(i));
        const double entropy = std::log(sum) - weighted / sum;
        return logprob_coefficient * (z(static_cast<size_t>(target)) - std::log(sum)) + entropy_coefficient * entropy;
      };
      const Truth truth = truth_of(logits, inverse_temperature);
      Floats gradient = logits;
      for (int64_t at = 0; at < 523; at += kBlock)
        kernels->head_block_backward(
            gradient.data() + at, std::min<int64_t>(kBlock, 523 - at), at, inverse_temperature, target,
            {truth.log_sum, static_cast<float>(truth.entropy), logprob_coefficient, entropy_coefficient});
      for (size_t i = 0; i < logits.size(); ++i) {
        const double slope = (loss(i, 1e-5) - loss(i, -1e-5)) / 2e-5;
        // p carries 2e-7 of itself; the differences themselves are good to about 1e-9.
        EXPECT_NEAR(gradient[i], slope, 1e-6) << kernels->name << " target " << target << " id " << i;
      }
    }
  }
}

}  // namespace
}  // namespace candor::engine
