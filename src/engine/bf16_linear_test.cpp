// Linear layers in bfloat16 against docs/adr/0007's rule in double: the base sees rounded x and dy, an adapter and
// every gradient of its own the unrounded ones. What a wrong reading of the rule would give is rejected.
#include <gtest/gtest.h>

#include <cmath>

#include "base/half.h"
#include "engine/linear.h"
#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;

constexpr int64_t kRows = 21;
constexpr Linear kRead[] = {Linear::kGate, Linear::kUp};  // two that read the same x
// Sums of 40 to 72 products below about 2, each step rounded to float32; a rounding to bfloat16 in the wrong place
// moves sums by some 1e-3.
constexpr double kTolerance = 2e-5, kVisible = 2e-4;

double rounded(double x) {
  return static_cast<double>(bfloat16_to_float(float_to_bfloat16(static_cast<float>(x))));
}

// A row-major matrix of the sizes that linear layers use, with zeros in the padding.
struct Rows {
  int64_t width = 0;
  std::vector<float> values;
  Rows(int64_t true_width, uint32_t seed) : width(padded(true_width)), values(static_cast<size_t>(kRows * width)) {
    const Floats numbers = noise(kRows * width, seed);
    for (int64_t i = 0; i < kRows * width; ++i)
      if (i % width < true_width) values[i] = numbers[i];
  }
  double at(int64_t row, int64_t column) const { return static_cast<double>(values[row * width + column]); }
};

class Bf16Linear : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    adapter = bench.random_adapter(model);
    for (const LoraPair& pair : adapter.pairs)  // large enough to see what it is fed
      for (int64_t i = 0; i < pair.b_size(); ++i) adapter.parameters[pair.b_offset + i] *= 10.0f;
    pack_adapter(*bench.context, adapter);
    for (const Linear linear : kRead) {
      weights.push_back(&model.layers[1][linear]);
      pairs.push_back(adapter.find(1, linear));
    }
  }
  double a(const LoraPair& pair, int64_t r, int64_t k) const {
    return static_cast<double>(adapter.parameters[pair.a_offset + r * padded(pair.in) + k]);
  }
  double b(const LoraPair& pair, int64_t o, int64_t r) const {
    return static_cast<double>(adapter.parameters[pair.b_offset + o * padded(pair.rank) + r]);
  }
  // s·A x of one row, x rounded first or not.
  std::vector<double> u_of(const LoraPair& pair, const Rows& x, int64_t row, bool round) const {
    std::vector<double> u(static_cast<size_t>(pair.rank), 0.0);
    for (int64_t r = 0; r < pair.rank; ++r)
      for (int64_t k = 0; k < pair.in; ++k)
        u[r] += static_cast<double>(pair.scale) * a(pair, r, k) * (round ? rounded(x.at(row, k)) : x.at(row, k));
    return u;
  }

  Bench bench{2, GetParam(), Dtype::kBfloat16};
  Model model = bench.random_model();
  Adapter adapter;
  std::vector<const PackedMatrix*> weights;
  std::vector<const LoraPair*> pairs;
};
INSTANTIATE_TEST_SUITE_P(All, Bf16Linear, ::testing::ValuesIn(testing::level_names()),
                         [](const auto& info) { return info.param; });

TEST_P(Bf16Linear, ForwardRoundsTheBaseInputOnly) {
  const Rows x(weights[0]->in, 3);
  std::vector<Rows> y = {Rows(weights[0]->out, 4), Rows(weights[1]->out, 5)}, u = {Rows(4, 6), Rows(4, 7)};
  std::vector<uint16_t> scratch(x.values.size());
  std::vector<LinearCall> calls;
  for (size_t i = 0; i < 2; ++i) calls.push_back({weights[i], 1, kRead[i], y[i].values.data(), u[i].values.data()});
  const AdapterRange all{0, kRows, &adapter};
  linears_forward(*bench.context, {&all, 1}, calls, x.values.data(), kRows, u[0].width, {scratch.data()});
  // The rule; twins: nothing rounded, the adapter fed with rounded x, the result rounded once more.
  double worst = 0, unrounded = 0, adapter_rounded = 0, twice = 0;
  for (size_t i = 0; i < 2; ++i) {
    std::vector<float> w(static_cast<size_t>(weights[i]->in));
    for (int64_t o = 0; o < weights[i]->out; ++o) {
      weights[i]->copy_row(o, w.data());
      for (int64_t row = 0; row < kRows; ++row) {
        double base = 0, base_unrounded = 0, lora = 0, lora_rounded = 0;
        for (int64_t k = 0; k < weights[i]->in; ++k) {
          base += static_cast<double>(w[k]) * rounded(x.at(row, k));
          base_unrounded += static_cast<double>(w[k]) * x.at(row, k);
        }
        const auto exact_u = u_of(*pairs[i], x, row, false), rounded_u = u_of(*pairs[i], x, row, true);
        for (int64_t r = 0; r < pairs[i]->rank; ++r) {
          lora += b(*pairs[i], o, r) * exact_u[r];
          lora_rounded += b(*pairs[i], o, r) * rounded_u[r];
        }
        const double ours = y[i].at(row, o);
        worst = std::max(worst, std::abs(ours - (base + lora)));
        unrounded = std::max(unrounded, std::abs(ours - (base_unrounded + lora)));
        adapter_rounded = std::max(adapter_rounded, std::abs(ours - (base + lora_rounded)));
        twice = std::max(twice, std::abs(ours - rounded(base + lora)));
      }
    }
  }
  EXPECT_LT(worst, kTolerance);
  EXPECT_GT(unrounded, kVisible);
  EXPECT_GT(adapter_rounded, kVisible);
  EXPECT_GT(twice, kVisible);
}

TEST_P(Bf16Linear, BackwardRoundsDyOfTheBaseProductOnly) {
  const Rows x(weights[0]->in, 3);
  const std::vector<Rows> dy = {Rows(weights[0]->out, 8), Rows(weights[1]->out, 9)};
  std::vector<Rows> u = {Rows(4, 6), Rows(4, 7)};
  Rows dx(weights[0]->in, 10);
  std::vector<float> gradients(static_cast<size_t>(adapter.parameters.size()), 0.0f), du(u[0].values.size() * 2);
  std::vector<uint16_t> scratch(dy[0].values.size() * 2);
  std::vector<LinearBackward> calls;
  for (size_t i = 0; i < 2; ++i) {
    LinearBackward call;
    call.weight = weights[i], call.layer = 1, call.linear = kRead[i];
    call.dy = dy[i].values.data(), call.u = u[i].values.data();
    calls.push_back(call);
  }
  const AdapterRange all{0, kRows, &adapter, gradients.data()};
  linears_backward(*bench.context, {&all, 1}, calls, x.values.data(), kRows, dx.values.data(), du.data(), u[0].width,
                   {scratch.data()});
  std::vector<std::vector<float>> w[2];
  for (size_t i = 0; i < 2; ++i)
    for (int64_t o = 0; o < weights[i]->out; ++o) {
      w[i].emplace_back(static_cast<size_t>(weights[i]->in));
      weights[i]->copy_row(o, w[i].back().data());
    }
  auto du_of = [&](size_t i, int64_t row, int64_t r, bool round) {
    double sum = 0;
    for (int64_t o = 0; o < weights[i]->out; ++o)
      sum += static_cast<double>(pairs[0]->scale) * b(*pairs[i], o, r) *
             (round ? rounded(dy[i].at(row, o)) : dy[i].at(row, o));
    return sum;
  };
  double worst = 0, unrounded = 0, adapter_rounded = 0;
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t k = 0; k < weights[0]->in; ++k) {
      double base = 0, base_unrounded = 0, lora = 0, lora_rounded = 0;
      for (size_t i = 0; i < 2; ++i) {
        for (int64_t o = 0; o < weights[i]->out; ++o) {
          base += rounded(dy[i].at(row, o)) * static_cast<double>(w[i][o][k]);
          base_unrounded += dy[i].at(row, o) * static_cast<double>(w[i][o][k]);
        }
        for (int64_t r = 0; r < pairs[i]->rank; ++r) {
          lora += du_of(i, row, r, false) * a(*pairs[i], r, k);
          lora_rounded += du_of(i, row, r, true) * a(*pairs[i], r, k);
        }
      }
      const double ours = dx.at(row, k);
      worst = std::max(worst, std::abs(ours - (base + lora)));
      unrounded = std::max(unrounded, std::abs(ours - (base_unrounded + lora)));
      adapter_rounded = std::max(adapter_rounded, std::abs(ours - (base + lora_rounded)));
    }
  }
  EXPECT_LT(worst, kTolerance);
  EXPECT_GT(unrounded, kVisible);
  EXPECT_GT(adapter_rounded, kVisible);

  double worst_gradient = 0, x_rounded = 0, dy_rounded = 0;
  for (size_t i = 0; i < 2; ++i) {
    const LoraPair& pair = *pairs[i];
    for (int64_t r = 0; r < pair.rank; ++r) {
      for (int64_t k = 0; k < pair.in; ++k) {
        double sum = 0, twin = 0;
        for (int64_t row = 0; row < kRows; ++row) {
          sum += du_of(i, row, r, false) * x.at(row, k);
          twin += du_of(i, row, r, false) * rounded(x.at(row, k));
        }
        const auto ours = static_cast<double>(gradients[pair.a_offset + r * padded(pair.in) + k]);
        worst_gradient = std::max(worst_gradient, std::abs(ours - sum));
        x_rounded = std::max(x_rounded, std::abs(ours - twin));
      }
      for (int64_t o = 0; o < pair.out; ++o) {
        double sum = 0, twin = 0;
        for (int64_t row = 0; row < kRows; ++row) {
          sum += dy[i].at(row, o) * u[i].at(row, r);
          twin += rounded(dy[i].at(row, o)) * u[i].at(row, r);
        }
        const auto ours = static_cast<double>(gradients[pair.b_offset + o * padded(pair.rank) + r]);
        worst_gradient = std::max(worst_gradient, std::abs(ours - sum));
        dy_rounded = std::max(dy_rounded, std::abs(ours - twin));
      }
    }
  }
  EXPECT_LT(worst_gradient, kTolerance);
  EXPECT_GT(x_rounded, kVisible);
  EXPECT_GT(dy_rounded, kVisible);
}

}  // namespace
}  // namespace candor::engine
