// The backward pass against finite differences: the derivative of a weighted sum of log-probabilities and entropies
// along random directions in parameter space.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <optional>

#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;
using testing::random_ids;

struct Case {
  std::vector<int32_t> prompt = random_ids(21, 1100, 1), first = random_ids(9, 1100, 2),
                       second = random_ids(14, 1100, 3);
  RolloutGroup group() const { return {prompt, {first, second}}; }
};

// Σ c_i·logprob_i + e_i·entropy_i, in double.
double objective(PolicyPass& pass, const Adapter& adapter, const RolloutGroup& group, const std::vector<float>& c,
                 const std::vector<float>& e) {
  const HeadOutput& out = pass.forward(&adapter, {&group, 1}, 0.7);
  double sum = 0;
  for (size_t i = 0; i < out.logprobs.size(); ++i)
    sum += static_cast<double>(c[i]) * static_cast<double>(out.logprobs[i]) +
           static_cast<double>(e[i]) * static_cast<double>(out.entropy[i]);
  return sum;
}

// Relative error of the directional derivative, per tensor, so that one wrong layer cannot hide.
void check_gradient(const char* level, float twist, const std::function<Adapter(Bench&, const Model&)>& make,
                    std::optional<DropoutKey> dropout = std::nullopt, Dtype dtype = Dtype::kFloat32,
                    const files::ModelConfig& config = testing::tiny_config()) {
  Bench bench(2, level, dtype);
  const Model model = bench.random_model(1, config);
  Adapter adapter = make(bench, model);
  const Case data;
  const RolloutGroup group = data.group();
  PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
  pass.set_dropout(dropout);
  std::vector<float> c, e;
  for (size_t i = 0; i < 23; ++i) {
    c.push_back(0.3f * static_cast<float>(i % 5) - 0.5f);
    e.push_back(0.2f * static_cast<float>(i % 3) - 0.1f);
  }
  const Trainable trainable = trainable_of(adapter);
  std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats), 0.0f);
  objective(pass, adapter, group, c, e);
  pass.backward(trainable, c, e, gradients.data());
  double worst = 0;
  for (const ParameterTensor& tensor : trainable.tensors) {
    // DoRA's norms are no part of the derivative by A and B, but are packed anew here: dora_test.cpp has those.
    if (adapter.config.use_dora && !tensor.name.ends_with("magnitude_vector")) continue;
    const std::vector<float> saved(tensor.values, tensor.values + tensor.size);
    std::vector<float> direction(saved.size());
    double expected = 0, norm = 0;
    for (int64_t i = 0; i < tensor.size; ++i) {
      // The gradient's own sign pattern, so that the directional derivative is its 1-norm and cannot cancel.
      const float gradient = gradients[tensor.offset + i];
      direction[i] = gradient > 0 ? 1.0f : gradient < 0 ? -1.0f : 0.0f;
      expected += std::abs(static_cast<double>(gradient)) * static_cast<double>(twist);
      norm += gradient != 0;
    }
    ASSERT_GT(expected, 0) << tensor.name;
    const double step = 2e-3 / std::sqrt(norm);
    double values[2];
    for (const int side : {0, 1}) {
      for (int64_t i = 0; i < tensor.size; ++i)
        tensor.values[i] = saved[i] + static_cast<float>(side == 0 ? -step : step) * direction[i];
      pack_adapter(*bench.context, adapter);
      values[side] = objective(pass, adapter, group, c, e);
    }
    std::copy(saved.begin(), saved.end(), tensor.values);
    worst = std::max(worst, std::abs((values[1] - values[0]) / (2 * step) - expected) / expected);
  }
  // Forward differences of a float32 forward: rounding of about 23 terms of 1e-6 over 2·2e-3/sqrt(n)·derivative, and
  // the second-order term; a wrong factor anywhere is off by far more.
  if (twist == 1.0f)
    EXPECT_LT(worst, 2e-2) << level;  // reason above
  else
    EXPECT_GT(worst, 4e-2) << level;  // the broken twin: gradients 5% too large
}

Adapter lora(Bench& bench, const Model& model) {
  return bench.random_adapter(model);
}
Adapter dora(Bench& bench, const Model& model) {
  return bench.random_adapter(model, 4, 7, true);
}

// What is not as the base has it at the start, so that no gradient is zero.
Adapter moved(Bench& bench, const Model& model, files::LoraConfig config) {
  Adapter adapter = std::move(make_adapter(*bench.context, model, config, 5)).value();
  for (const LoraPair& pair : adapter.pairs) {
    const auto fill = [&](int64_t offset, int64_t rows, int64_t columns, float size) {
      const Floats numbers = noise(rows * columns, static_cast<uint32_t>(offset % 1000));
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t k = 0; k < columns; ++k)
          adapter.parameters[offset + row * padded(columns) + k] += size * numbers[row * columns + k];
    };
    fill(pair.a_offset, pair.rank, pair.in, 0.1f);
    fill(pair.b_offset, pair.out, pair.rank, 0.1f);
  }
  pack_adapter(*bench.context, adapter);
  return adapter;
}
Adapter pissa(Bench& bench, const Model& model) {
  files::LoraConfig config;
  config.r = 3;
  config.alpha = 6;
  config.target_modules = {"all-linear"};
  config.init = files::LoraInit::kPissa;
  return moved(bench, model, config);
}
Adapter embedding(Bench& bench, const Model& model) {
  files::LoraConfig config;
  config.r = 3;
  config.alpha = 2;
  config.target_modules = {"embed_tokens", "lm_head", "v_proj"};
  return moved(bench, model, config);
}
Adapter dropping_pissa(Bench& bench, const Model& model) {
  Adapter adapter = pissa(bench, model);
  adapter.config.dropout = 0.3;
  return adapter;
}
Adapter dora_embedding(Bench& bench, const Model& model) {
  files::LoraConfig config;
  config.r = 3;
  config.alpha = 2;
  config.use_dora = true;
  config.target_modules = {"embed_tokens", "v_proj"};
  return moved(bench, model, config);
}
Adapter dropping(Bench& bench, const Model& model) {
  Adapter adapter = bench.random_adapter(model);
  adapter.config.dropout = 0.3;
  return adapter;
}

TEST(Backward, MatchesFiniteDifferences) {
  check_gradient("plain", 1.0f, lora);
  check_gradient("", 1.0f, lora);
  check_gradient("", 1.0f, dora);
  check_gradient("", 1.0f, pissa);
  check_gradient("", 1.0f, embedding);
  check_gradient("", 1.0f, dropping, DropoutKey{3, 8});
  check_gradient("", 1.0f, dropping_pissa, DropoutKey{3, 8});
  check_gradient("", 1.0f, dora_embedding);
}

TEST(Backward, OfGpt2MatchesFiniteDifferences) {
  for (const auto& make : {lora, dora, pissa})
    check_gradient("", 1.0f, make, std::nullopt, Dtype::kFloat32, testing::tiny_gpt2_config());
}

// Weights in 8 bits and activations that are not rounded: the function is smooth, and its gradient passes through the
// dequantized weights. (dx = dy·W rounds both to bfloat16 nowhere in this mode.)
TEST(Backward, ThroughQuantizedWeightsMatchesFiniteDifferences) {
  for (const auto& config : {testing::tiny_config(), testing::tiny_gpt2_config()})
    for (const auto& make : {lora, dora, pissa})
      check_gradient("", 1.0f, make, std::nullopt, testing::dtype_of("int8_float32"), config);
}

TEST(Backward, BrokenTwinIsRejected) {
  check_gradient("", 1.05f, lora);
  check_gradient("", 1.05f, dropping, DropoutKey{3, 8});
  check_gradient("", 1.05f, lora, std::nullopt, testing::dtype_of("int8_float32"));
}

}  // namespace
}  // namespace candor::engine
