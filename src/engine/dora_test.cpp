// DoRA's linear layers against double precision: the row norms, and every gradient by finite differences. What a wrong
// reading of the paper would give is rejected.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/dora.h"
#include "engine/linear.h"
#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;

constexpr int64_t kRows = 9;
constexpr Linear kRead[] = {Linear::kGate, Linear::kUp};  // two that read the same x

files::ModelConfig biased_config() {
  files::ModelConfig c = testing::tiny_config();
  c.mlp_bias = true;
  return c;
}

// A row-major matrix of the sizes that linear layers use, with zeros in the padding.
std::vector<float> padded_rows(int64_t width, uint32_t seed) {
  const Floats numbers = noise(kRows * padded(width), seed);
  std::vector<float> rows(numbers.size());
  for (int64_t i = 0; i < kRows * padded(width); ++i)
    if (i % padded(width) < width) rows[i] = numbers[i];
  return rows;
}

// What a twin gets wrong.
enum class Twin { kNone, kNormNotDetached, kNormWithoutScale, kMagnitudeOnBias };

// One layer in double: W, b, and the numbers of its pair as they stand in the flat buffer.
struct Reference {
  const PackedMatrix* weight;
  const LoraPair* pair;
  std::vector<std::vector<float>> w;

  Reference(const PackedMatrix& matrix, const LoraPair& lora) : weight(&matrix), pair(&lora) {
    for (int64_t row = 0; row < matrix.out; ++row) {
      w.emplace_back(static_cast<size_t>(matrix.in));
      matrix.copy_row(row, w.back().data());
    }
  }
  double adapted(const std::vector<double>& p, int64_t row, int64_t k, double scale) const {
    double sum = static_cast<double>(w[row][k]);
    for (int64_t r = 0; r < pair->rank; ++r)
      sum += scale * p[pair->b_offset + row * padded(pair->rank) + r] * p[pair->a_offset + r * padded(pair->in) + k];
    return sum;
  }
  double norm(const std::vector<double>& p, int64_t row, Twin twin = Twin::kNone) const {
    double squares = 0;
    const double scale = twin == Twin::kNormWithoutScale ? 1.0 : static_cast<double>(pair->scale);
    for (int64_t k = 0; k < pair->in; ++k) squares += std::pow(adapted(p, row, k, scale), 2);
    return std::sqrt(squares);
  }
  // y of one row of x; `detached`: the parameters that the norms are of.
  std::vector<double> y(const std::vector<double>& p, const std::vector<double>& detached, const double* x,
                        Twin twin = Twin::kNone) const {
    std::vector<double> out;
    for (int64_t row = 0; row < pair->out; ++row) {
      double sum = 0;
      for (int64_t k = 0; k < pair->in; ++k) sum += adapted(p, row, k, static_cast<double>(pair->scale)) * x[k];
      const double bias = weight->bias.empty() ? 0 : static_cast<double>(weight->bias[row]);
      const double n = norm(twin == Twin::kNormNotDetached ? p : detached, row, twin);
      const double gain = n > 0 ? p[pair->magnitude_offset + row] / n : 0;
      out.push_back(twin == Twin::kMagnitudeOnBias ? gain * (sum + bias) : gain * sum + bias);
    }
    return out;
  }
};

class Dora : public ::testing::TestWithParam<std::tuple<std::string, Dtype>> {
 protected:
  Bench bench{2, std::get<0>(GetParam()), std::get<1>(GetParam())};
  Model model = bench.random_model(1, biased_config());
  Adapter adapter = bench.random_adapter(model, 4, 7, true);

  std::vector<Reference> references() const {
    std::vector<Reference> all;
    for (const Linear linear : kRead) all.emplace_back(model.layers[1][linear], *adapter.find(1, linear));
    return all;
  }
  std::vector<double> parameters() const {
    return {adapter.parameters.data(), adapter.parameters.data() + adapter.parameters.size()};
  }
  bool rounds() const { return std::get<1>(GetParam()) == Dtype::kBfloat16; }
};
INSTANTIATE_TEST_SUITE_P(All, Dora,
                         ::testing::Combine(::testing::ValuesIn(testing::level_names()),
                                            ::testing::Values(Dtype::kFloat32, Dtype::kBfloat16)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + std::string(dtype_name(std::get<1>(info.param)));
                         });

// Of the base as it computes: in bfloat16 the rounded weights, but A unrounded.
TEST_P(Dora, RowNormsAreThoseOfTheWholeMatrix) {
  const std::vector<double> p = parameters();
  double worst = 0, without_scale = 0;
  for (const LoraPair& pair : adapter.pairs) {
    if (pair.layer != 1) continue;
    const Reference reference(model.layers[1][pair.linear], pair);
    for (int64_t row = 0; row < pair.out; ++row) {
      const auto ours = static_cast<double>(adapter.packed[pair.norm + row]);
      const double exact = reference.norm(p, row);
      worst = std::max(worst, std::abs(ours - exact) / exact);
      without_scale = std::max(without_scale, std::abs(ours - reference.norm(p, row, Twin::kNormWithoutScale)) / exact);
    }
  }
  EXPECT_LT(worst, 1e-6);  // three sums of 40 to 72 products, each rounded to float32
  EXPECT_GT(without_scale, 1e-2);
}

// The linear layers of kRead with random x and dy, forward and backward, the backward both with y and without.
struct Ran {
  std::vector<std::vector<float>> y, dy;
  std::vector<float> gradients, gradients_again, dx, dx_again;
};

Ran run(Bench& bench, const Model& model, Adapter& adapter, const std::vector<float>& x) {
  Ran ran;
  const int64_t in = padded(model.config.hidden_size), out = padded(model.config.intermediate_size), u_row = kPanel;
  std::vector<std::vector<float>> u(2, std::vector<float>(static_cast<size_t>(kRows * u_row)));
  std::vector<uint16_t> scratch(static_cast<size_t>(2 * kRows * out));
  std::vector<LinearCall> calls;
  for (size_t i = 0; i < 2; ++i) {
    ran.y.emplace_back(static_cast<size_t>(kRows * out));
    ran.dy.push_back(padded_rows(model.config.intermediate_size, 20 + static_cast<uint32_t>(i)));
  }
  for (size_t i = 0; i < 2; ++i)
    calls.push_back({&model.layers[1][kRead[i]], 1, kRead[i], ran.y[i].data(), u[i].data()});
  const AdapterRange forward{0, kRows, &adapter};
  linears_forward(*bench.context, {&forward, 1}, calls, x.data(), kRows, u_row, {scratch.data()});
  for (const bool with_y : {true, false}) {
    std::vector<float>& gradients = with_y ? ran.gradients : ran.gradients_again;
    std::vector<float>& dx = with_y ? ran.dx : ran.dx_again;
    gradients.resize(static_cast<size_t>(adapter.parameters.size()));
    dx.resize(static_cast<size_t>(kRows * in));
    std::vector<std::vector<float>> scaled(2, std::vector<float>(static_cast<size_t>(kRows * out)));
    std::vector<float> du(static_cast<size_t>(2 * kRows * u_row));
    std::vector<LinearBackward> backward;
    for (size_t i = 0; i < 2; ++i) {
      LinearBackward call;
      call.weight = calls[i].weight, call.layer = 1, call.linear = kRead[i];
      call.dy = ran.dy[i].data(), call.u = u[i].data(), call.scaled = scaled[i].data();
      if (with_y) call.y = ran.y[i].data();
      backward.push_back(call);
    }
    const AdapterRange range{0, kRows, &adapter, gradients.data()};
    linears_backward(*bench.context, {&range, 1}, backward, x.data(), kRows, dx.data(), du.data(), u_row,
                     {scratch.data()});
  }
  return ran;
}

TEST_P(Dora, ForwardAndEveryGradientAreThoseOfDoublePrecision) {
  if (rounds()) GTEST_SKIP() << "the base's products see rounded numbers; the model's test covers them";
  const std::vector<Reference> layers = references();
  const int64_t in = model.config.hidden_size, out = model.config.intermediate_size;
  adapter.parameters[layers[0].pair->magnitude_offset + 3] = 0;  // its gradient cannot be read off y
  pack_adapter(*bench.context, adapter);
  const std::vector<float> x = padded_rows(in, 3);
  const Ran ran = run(bench, model, adapter, x);

  std::vector<double> wide(x.begin(), x.end()), p = parameters();
  const std::vector<double> detached = p;
  auto objective = [&](Twin twin) {
    double sum = 0;
    for (size_t i = 0; i < 2; ++i)
      for (int64_t row = 0; row < kRows; ++row) {
        const auto y = layers[i].y(p, detached, wide.data() + row * padded(in), twin);
        for (int64_t j = 0; j < out; ++j) sum += y[j] * static_cast<double>(ran.dy[i][row * padded(out) + j]);
      }
    return sum;
  };
  double forward = 0, bias_scaled = 0;
  for (size_t i = 0; i < 2; ++i)
    for (int64_t row = 0; row < kRows; ++row) {
      const double* of_row = wide.data() + row * padded(in);
      const auto y = layers[i].y(p, detached, of_row), twin = layers[i].y(p, detached, of_row, Twin::kMagnitudeOnBias);
      for (int64_t j = 0; j < out; ++j) {
        const auto ours = static_cast<double>(ran.y[i][row * padded(out) + j]);
        forward = std::max(forward, std::abs(ours - y[j]));
        bias_scaled = std::max(bias_scaled, std::abs(ours - twin[j]));
      }
    }
  EXPECT_LT(forward, 1e-5);  // sums of 40 products of about 1, rounded to float32 at each step
  EXPECT_GT(bias_scaled, 1e-2);

  // d objective / d one number, by a step over which the objective is a polynomial of degree 2 (3 with A and B).
  auto difference = [&](double& number, Twin twin) {
    constexpr double kStep = 1e-4;
    const double saved = number;
    number = saved + kStep;
    const double above = objective(twin);
    number = saved - kStep;
    const double below = objective(twin);
    number = saved;
    return (above - below) / (2 * kStep);
  };
  double worst = 0, again = 0, attached = 0;
  auto check = [&](int64_t offset) {
    const double exact = difference(p[offset], Twin::kNone);
    worst = std::max(worst, std::abs(exact - static_cast<double>(ran.gradients[offset])));
    again = std::max(again, std::abs(exact - static_cast<double>(ran.gradients_again[offset])));
    attached = std::max(
        attached, std::abs(difference(p[offset], Twin::kNormNotDetached) - static_cast<double>(ran.gradients[offset])));
  };
  for (const Reference& layer : layers) {
    const LoraPair& pair = *layer.pair;
    for (int64_t k = 0; k < in; k += 7) check(pair.a_offset + padded(in) + k);  // the second of A's rows
    for (int64_t row = 0; row < out; row += 11) check(pair.b_offset + row * padded(pair.rank) + row % pair.rank);
    for (const int64_t row : {int64_t{3}, int64_t{4}, out - 1}) check(pair.magnitude_offset + row);
  }
  // Sums over 9 rows and 40 to 72 columns of products of about 1, in float32.
  EXPECT_LT(worst, 1e-4);
  EXPECT_LT(again, 1e-4);
  EXPECT_GT(attached, 1e-2);
  for (const int64_t i : {int64_t{0}, kRows * padded(in) - padded(in) + in - 1}) {
    const double exact = difference(wide[i], Twin::kNone);
    EXPECT_NEAR(static_cast<double>(ran.dx[i]), exact, 1e-4);
    EXPECT_EQ(ran.dx[i], ran.dx_again[i]);
  }
}

// A row of W + s·B·A that is zero has no direction: it gives nothing, learns nothing, and breaks nothing.
TEST_P(Dora, ARowWithoutLengthGivesNothing) {
  const LoraPair& pair = *adapter.find(1, Linear::kGate);
  constexpr int64_t kRow = 5;
  PackedMatrix& w = model.layers[1].linears[static_cast<int>(Linear::kGate)];
  for (int64_t k = 0; k < w.in; ++k) {
    if (rounds())
      w.pairs[kRow / kPanel * w.panel_size() + k / 2 * (2 * kPanel) + 2 * (kRow % kPanel) + k % 2] = 0;
    else
      w.data[kRow / kPanel * w.panel_size() + k * kPanel + kRow % kPanel] = 0;
  }
  base_squares(*bench.context, pair, adapter.packed.data() + pair.base_squares);
  for (int64_t r = 0; r < pair.rank; ++r) adapter.parameters[pair.b_offset + kRow * padded(pair.rank) + r] = 0;
  pack_adapter(*bench.context, adapter);
  const Ran ran = run(bench, model, adapter, padded_rows(model.config.hidden_size, 3));
  for (int64_t row = 0; row < kRows; ++row) EXPECT_EQ(ran.y[0][row * padded(pair.out) + kRow], w.bias[kRow]);
  EXPECT_EQ(ran.gradients[pair.magnitude_offset + kRow], 0.0f);
  EXPECT_EQ(ran.gradients_again[pair.magnitude_offset + kRow], 0.0f);
  for (const float g : ran.gradients) ASSERT_TRUE(std::isfinite(g));
  for (const float g : ran.dx) ASSERT_TRUE(std::isfinite(g));
}

// A fresh adapter has B = 0 and magnitudes equal to the norms: m/n is 1 but for a rounding.
TEST_P(Dora, BeginsAsTheBase) {
  files::LoraConfig config;
  config.target_modules = {"all-linear"};
  config.use_dora = true;
  auto made = make_adapter(*bench.context, model, config, 5);
  ASSERT_TRUE(made) << made.error().message;
  const Adapter fresh = std::move(made).value();
  for (const LoraPair& pair : fresh.pairs)
    for (int64_t row = 0; row < pair.out; ++row) ASSERT_EQ(fresh.packed[pair.gain + row], 1.0f);
  EXPECT_EQ(trainable_of(adapter).tensors.size(), adapter.pairs.size() * 3);
}

}  // namespace
}  // namespace candor::engine
