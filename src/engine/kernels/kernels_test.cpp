// The kernels over rows: every level against the formula in double, gradients against finite differences in double.
#include "engine/kernels/kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/kernels/test_numbers.h"

namespace candor::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Widths with whole vectors, with a tail, and below one vector.
constexpr int64_t kWidths[] = {1, 7, 8, 16, 37, 64, 576};

Floats scaled(Floats x, float factor) {
  for (float& v : x) v *= factor;
  return x;
}

double square_sum(const Floats& x) {
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v) * v;
  return sum;
}

TEST(Exp, StaysWithinOneAndAHalfUlp) {
  for (const Kernels* kernels : levels()) {
    Floats x, y;
    for (double v = -104.5; v < 89.5; v += 1.0 / 3000) x.push_back(static_cast<float>(v));
    for (double v = -1e-3; v < 1e-3; v += 1e-7) x.push_back(static_cast<float>(v));
    y.resize(x.size());
    kernels->exp_row(x.data(), static_cast<int64_t>(x.size()), 1, 0, y.data());
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const long double truth = std::exp(static_cast<long double>(x[i]));
      if (truth > std::numeric_limits<float>::max()) {
        ASSERT_EQ(y[i], kInfinity) << x[i];
        continue;
      }
      int exponent = 0;
      std::frexp(truth, &exponent);
      const long double ulp = std::ldexp(1.0L, std::max(exponent, -125) - 24);
      worst = std::max(worst, static_cast<double>(std::abs(y[i] - truth) / ulp));
    }
    EXPECT_LT(worst, 1.5) << kernels->name;  // the bound that the head's sums are reckoned with
    EXPECT_GT(worst, 0.4) << "the comparison itself must be able to see half an ulp";
  }
}

TEST(Exp, EndsOfTheRange) {
  for (const Kernels* kernels : levels()) {
    const float denormal = std::numeric_limits<float>::denorm_min();
    const Floats x = {0, -0.0f, -kInfinity, -1e30f, -110, -103.2f, 88.72f, 89, 1e30f, kInfinity, std::nanf("")};
    Floats y(x.size());
    kernels->exp_row(x.data(), static_cast<int64_t>(x.size()), 1, 0, y.data());
    EXPECT_THAT(Floats(y.begin(), y.begin() + 6), ::testing::ElementsAre(1, 1, 0, 0, 0, denormal)) << kernels->name;
    EXPECT_LT(y[6], kInfinity);
    EXPECT_THAT(Floats(y.begin() + 7, y.begin() + 10), ::testing::Each(kInfinity));
    EXPECT_TRUE(std::isnan(y[10]));
  }
}

// Every level has the bits of the formula in float32, row after row; in place, and with columns beyond those asked for.
TEST(MagnitudeBackward, AddsRowByRowAndScales) {
  constexpr int64_t kRows = 5;
  for (const Kernels* kernels : levels()) {
    for (const int64_t n : kWidths) {
      const int64_t stride = n + 3;
      const Floats y = noise(kRows * stride, 1), beside = noise(kRows * stride, 2), bias = noise(n, 3);
      const Floats inverse = noise(n, 4), gain = noise(n, 5), dy = noise(kRows * stride, 6);
      for (const bool whole : {false, true}) {
        Floats sums = noise(n, 7), scaled = dy, expected_sums = sums, expected = dy;
        kernels->magnitude_backward({.dy = scaled.data(),
                                     .y = y.data(),
                                     .beside = whole ? beside.data() : nullptr,
                                     .bias = whole ? bias.data() : nullptr,
                                     .inverse = inverse.data(),
                                     .gain = gain.data(),
                                     .rows = kRows,
                                     .stride = stride,
                                     .n = n,
                                     .sums = sums.data(),
                                     .scaled = scaled.data()});
        for (int64_t t = 0; t < kRows; ++t)
          for (int64_t j = 0; j < n; ++j) {
            const auto at = static_cast<size_t>(t * stride + j), column = static_cast<size_t>(j);
            const float v = whole ? y[at] - beside[at] - bias[column] : y[at];
            expected_sums[column] += dy[at] * v * inverse[column];
            expected[at] = dy[at] * gain[column];
          }
        EXPECT_EQ(sums, expected_sums) << kernels->name << ' ' << n;
        EXPECT_EQ(scaled, expected) << kernels->name << ' ' << n;
      }
    }
  }
}

TEST(Elementwise, AddAxpyScaleDotAndSquares) {
  for (const Kernels* kernels : levels()) {
    for (const int64_t n : kWidths) {
      const Floats x = noise(n, 1), y = noise(n, 2);
      Floats sum = y, combined = y, product = y;
      sum.push_back(7), combined.push_back(7), product.push_back(7);  // must stay
      kernels->add(x.data(), n, sum.data());
      kernels->axpy(0.3f, x.data(), n, combined.data());
      kernels->scale(0.3f, n, product.data());
      double dot = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        EXPECT_EQ(sum[i], x[i] + y[i]);
        EXPECT_NEAR(combined[i], y[i] + 0.3f * static_cast<double>(x[i]), 2e-7);  // two roundings below 1.3
        EXPECT_EQ(product[i], 0.3f * y[i]);
        dot += static_cast<double>(x[i]) * y[i];
      }
      EXPECT_EQ(sum.back() + combined.back() + product.back(), 21);
      EXPECT_NEAR(kernels->dot(x.data(), y.data(), n), dot, 5e-6);  // 18 steps in each of 32 lanes, below 20
      EXPECT_NEAR(kernels->sum_of_squares(x.data(), n), square_sum(x), 1e-12 * static_cast<double>(n));
    }
  }
}

TEST(RmsNorm, EqualsItsFormula) {
  for (const Kernels* kernels : levels()) {
    for (const int64_t n : kWidths) {
      const Floats x = scaled(noise(n, 1), 3), weight = noise(n, 2);
      Floats y(x.size());
      const float factor = kernels->rms_norm(x.data(), weight.data(), 1e-5f, n, y.data());
      const double expected = 1 / std::sqrt(square_sum(x) / static_cast<double>(n) + static_cast<double>(1e-5f));
      EXPECT_NEAR(factor, expected, 1e-7 * expected);  // one rounding to float
      for (size_t i = 0; i < x.size(); ++i) {
        const double value = x[i] * expected * weight[i];
        EXPECT_NEAR(y[i], value, 3e-7 * std::abs(value) + 1e-30);  // three roundings
      }
    }
  }
}

TEST(RmsNorm, BackwardEqualsFiniteDifferences) {
  for (const Kernels* kernels : levels()) {
    for (const int64_t n : {1, 7, 37, 64}) {
      const Floats x = scaled(noise(n, 1), 2), weight = noise(n, 2), dy = noise(n, 3);
      const double epsilon = 1e-2;  // large, so that n = 1 has a gradient to speak of
      auto loss = [&](size_t moved, double by) {
        double squares = 0, sum = 0;
        auto at = [&](size_t i) { return static_cast<double>(x[i]) + (i == moved ? by : 0.0); };
        for (size_t i = 0; i < x.size(); ++i) squares += at(i) * at(i);
        const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + epsilon);
        for (size_t i = 0; i < x.size(); ++i) sum += at(i) * factor * weight[i] * dy[i];
        return sum;
      };
      Floats y(x.size()), dx(x.size(), 0.5f);
      const float factor = kernels->rms_norm(x.data(), weight.data(), static_cast<float>(epsilon), n, y.data());
      kernels->rms_norm_backward(x.data(), weight.data(), factor, dy.data(), n, dx.data());
      for (size_t i = 0; i < x.size(); ++i) {
        const double slope = (loss(i, 1e-5) - loss(i, -1e-5)) / 2e-5;
        // Float roundings of terms below about 3, beside 0.5 that was there before; differences are good to 1e-9.
        EXPECT_NEAR(dx[i], 0.5 + slope, 2e-6) << kernels->name << " n " << n;
      }
    }
  }
}

TEST(Rope, RotatesAndTheInverseBringsBack) {
  for (const Kernels* kernels : levels()) {
    for (const int64_t head_dim : {2, 16, 22, 64}) {
      const int64_t heads = 3, half = head_dim / 2;
      const Floats start = noise(heads * head_dim, 1), angles = scaled(noise(half, 2), 3);
      Floats cosine, sine, x = start;
      for (const float angle : angles) cosine.push_back(std::cos(angle)), sine.push_back(std::sin(angle));
      kernels->rope(x.data(), cosine.data(), sine.data(), heads, head_dim, 1);
      for (int64_t head = 0; head < heads; ++head) {
        for (int64_t i = 0; i < half; ++i) {
          const size_t at = static_cast<size_t>(head * head_dim + i), pair = at + static_cast<size_t>(half);
          const double c = cosine[static_cast<size_t>(i)], s = sine[static_cast<size_t>(i)];
          EXPECT_NEAR(x[at], start[at] * c - start[pair] * s, 2e-7);  // two roundings below 1.5
          EXPECT_NEAR(x[pair], start[pair] * c + start[at] * s, 2e-7);
        }
      }
      kernels->rope(x.data(), cosine.data(), sine.data(), heads, head_dim, -1);
      for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], start[i], 6e-7);  // and once more
    }
  }
}

TEST(SiluMul, ForwardAndBackwardEqualTheirFormulas) {
  for (const Kernels* kernels : levels()) {
    const int64_t n = 301;
    Floats gate = scaled(noise(n, 1), 12), up = noise(n, 2);
    const Floats dout = noise(n, 3);
    gate[0] = 0, gate[1] = -200, gate[2] = 200, gate[3] = -87.5f;  // exp(-g) beyond the range of float on one side
    Floats out(gate.size()), dgate = gate, dup = up;               // in place, as allowed
    kernels->silu_mul(gate.data(), up.data(), n, out.data());
    kernels->silu_mul_backward(dgate.data(), dup.data(), dout.data(), n, dgate.data(), dup.data());
    for (size_t i = 0; i < gate.size(); ++i) {
      const double g = gate[i], u = up[i], d = dout[i];
      auto silu = [](double v) { return v / (1 + std::exp(-v)); };
      const double slope = (silu(g + 1e-5) - silu(g - 1e-5)) / 2e-5;
      EXPECT_NEAR(out[i], silu(g) * u, 5e-7 * std::abs(silu(g) * u) + 1e-37) << g;  // exp, sum, quotient, product
      EXPECT_NEAR(dup[i], d * silu(g), 5e-7 * std::abs(d * silu(g)) + 1e-37) << g;
      EXPECT_NEAR(dgate[i], d * u * slope, 2e-6) << g;  // 1 + g(1 - s) cancels up to |g| = 12, times 1e-7
    }
  }
}

TEST(SoftmaxBlock, BlocksInOrderGiveTheSoftmax) {
  for (const Kernels* kernels : levels()) {
    const float scale = 0.125f;
    const int64_t total = 16 * 5 + 3;
    const Floats scores = scaled(noise(total, 1), 100);
    float maximum = -kInfinity, sum = 0;
    Floats p;
    for (int64_t at = 0; at < total; at += 16) {
      const int64_t valid = std::min<int64_t>(16, total - at);
      Floats block(16, 1e30f);  // what lies beyond `valid` must not count
      std::copy_n(scores.begin() + at, valid, block.begin());
      const float before = maximum;
      const float factor = kernels->softmax_block(block.data(), valid, scale, &maximum, &sum);
      if (maximum == before) {
        EXPECT_EQ(factor, 1.0f);
      }
      if (at == 0) {
        EXPECT_EQ(factor, 0.0f);
      }
      for (float& v : p) v *= factor;
      for (int64_t j = valid; j < 16; ++j) EXPECT_EQ(block[static_cast<size_t>(j)], 0);
      p.insert(p.end(), block.begin(), block.begin() + valid);
    }
    double expected_sum = 0;
    for (const float s : scores) expected_sum += std::exp(static_cast<double>(scale * s) - maximum);
    EXPECT_EQ(maximum, scale * *std::max_element(scores.begin(), scores.end()));
    EXPECT_NEAR(sum, expected_sum, 2e-6 * expected_sum);  // six blocks, each a few roundings
    for (size_t i = 0; i < p.size(); ++i)
      EXPECT_NEAR(p[i], std::exp(static_cast<double>(scale * scores[i]) - maximum), 5e-7);  // exp and its argument

    // Nothing valid: nothing happens.
    Floats block(16, 3.0f);
    const float maximum_before = maximum, sum_before = sum;
    EXPECT_EQ(kernels->softmax_block(block.data(), 0, scale, &maximum, &sum), 1.0f);
    EXPECT_EQ(block, Floats(16, 0.0f));
    EXPECT_EQ(maximum, maximum_before);
    EXPECT_EQ(sum, sum_before);
  }
}

TEST(SoftmaxBlock, BackwardEqualsItsFormula) {
  for (const Kernels* kernels : levels()) {
    for (const int64_t valid : {0, 1, 8, 13, 16}) {
      const Floats scores = scaled(noise(16, 1), 20), dp = noise(16, 2);
      const float scale = 0.25f, log_sum = 5.5f, delta = 0.3f;
      Floats p = scores, ds = dp;
      kernels->softmax_block_backward(p.data(), ds.data(), valid, scale, log_sum, delta);
      for (size_t j = 0; j < 16; ++j) {
        const double expected = j < static_cast<size_t>(valid) ? std::exp(scale * double{scores[j]} - log_sum) : 0.0;
        EXPECT_NEAR(p[j], expected, 1e-6 * expected);  // argument up to 10.5 rounded, then exp
        EXPECT_NEAR(ds[j], scale * expected * (double{dp[j]} - delta), 1e-6);
      }
    }
  }
}

TEST(SoftmaxBlock, ANanSurfaces) {
  for (const Kernels* kernels : levels()) {
    for (size_t at = 0; at < 16; ++at) {
      Floats block = noise(16, 1);
      block[at] = std::nanf("");
      float maximum = -kInfinity, sum = 0;
      kernels->softmax_block(block.data(), 16, 1, &maximum, &sum);
      EXPECT_TRUE(std::isnan(sum)) << kernels->name << " at " << at;
    }
  }
}

TEST(Adamw, EqualsPytorchsFormulaInDouble) {
  for (const Kernels* kernels : levels()) {
    const int64_t n = 53;
    Floats parameter = noise(n, 1), m(53, 0.0f), v(53, 0.0f);
    std::vector<double> p(parameter.begin(), parameter.end()), m2(53, 0.0), v2(53, 0.0);
    const double rate = 0.01, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, decay = 0.1, clip = 0.25;
    for (int t = 1; t <= 20; ++t) {
      const Floats gradient = noise(n, 100 + static_cast<uint32_t>(t));
      const double correction1 = 1 - std::pow(beta1, t), correction2 = 1 - std::pow(beta2, t);
      kernels->adamw({rate, beta1, beta2, epsilon, decay, correction1, correction2, clip}, gradient.data(), n,
                     parameter.data(), m.data(), v.data());
      for (size_t i = 0; i < p.size(); ++i) {
        const double g = clip * static_cast<double>(gradient[i]);
        p[i] *= 1 - rate * decay;
        m2[i] = beta1 * m2[i] + (1 - beta1) * g;
        v2[i] = beta2 * v2[i] + (1 - beta2) * g * g;
        p[i] -= rate / correction1 * m2[i] / (std::sqrt(v2[i] / correction2) + epsilon);
      }
    }
    for (size_t i = 0; i < p.size(); ++i) {
      EXPECT_NEAR(parameter[i], p[i], 2e-6);  // 20 steps, each rounds a number below 1 a few times
      EXPECT_NEAR(m[i], m2[i], 1e-7);
      EXPECT_NEAR(v[i], v2[i], 1e-5 * v2[i]);  // 1 - beta2 in float32 would be off by 5e-5
    }
  }
}

TEST(Select, NamesTheLevels) {
  for (const Kernels* kernels : levels()) EXPECT_EQ(*select_kernels(kernels->name), kernels);
  EXPECT_EQ(*select_kernels(""), levels().back());
  const auto missing = select_kernels("avx1024");
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, ::testing::StartsWith("[kernels] CANDOR_CPU asks for \"avx1024\", which this "
                                                             "processor or this build does not have. Levels here: "));
  EXPECT_THAT(missing.error().message, ::testing::HasSubstr("plain"));
}

}  // namespace
}  // namespace candor::engine
