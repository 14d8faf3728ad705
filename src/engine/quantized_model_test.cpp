// Whole models with quantized weights: against models that hold the dequantized weights, and the blocks of a file
// against an outside oracle.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "engine/model_weights.h"
#include "engine/testing.h"
#include "support/golden_model.h"

namespace candor::engine {
namespace {

using candor::testing::golden;
using candor::testing::RowsForward;
using candor::testing::value_of;
using candor::testing::worst_difference;
using testing::Bench;
using testing::dtype_of;
using testing::random_ids;

// What a model holds, as files: loaded in float32 it is the same model without quantization.
files::ModelFiles dequantized(const Model& model) {
  files::ModelFiles files;
  files.path = "dequantized";
  files.format = "safetensors";
  files.config = model.config;
  files.weights = std::make_unique<ModelWeights>(model);
  return files;
}

struct Result {
  std::vector<float> logprobs, entropy, gradients;
  bool operator==(const Result&) const = default;
};

Result result_of(Bench& bench, const Model& model) {
  Adapter adapter = bench.random_adapter(model);
  const auto prompt = random_ids(21, 1100, 1), first = random_ids(9, 1100, 2), second = random_ids(14, 1100, 3);
  const RolloutGroup group{prompt, {first, second}};
  PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
  const HeadOutput& head = pass.forward(&adapter, {&group, 1}, 0.7);
  Result result{head.logprobs, head.entropy, {}};
  std::vector<float> c, e;
  for (size_t i = 0; i < head.logprobs.size(); ++i) {
    c.push_back(0.3f * static_cast<float>(i % 5) - 0.5f);
    e.push_back(0.2f * static_cast<float>(i % 3) - 0.1f);
  }
  result.gradients.resize(static_cast<size_t>(adapter.parameters.size()), 0.0f);
  pass.backward(trainable_of(adapter), c, e, result.gradients.data());
  return result;
}

double relative_error(const std::vector<float>& ours, const std::vector<float>& expected) {
  double error = 0, square = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    error += std::pow(static_cast<double>(ours[i]) - static_cast<double>(expected[i]), 2);
    square += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(error / square);
}

// What int8 activations add to a product, as a part of its root mean square: a step is 1/127 of the largest of 32
// numbers, which is at most √32 times their root mean square, and what rounding adds is step/√12 in the mean square
// (half a step at most).
const double kInt8Noise = std::sqrt(32.0 / 12.0) / 127;  // 1.3%

// Independent errors add like this over so many products one after another: 4 in a layer, and the head.
double noise_of_products(int64_t count) {
  return kInt8Noise * std::sqrt(static_cast<double>(count));
}

double root_mean_square(const std::vector<float>& x) {
  double sum = 0;
  for (const float value : x) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum / static_cast<double>(x.size()));
}

class QuantizedModel : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, QuantizedModel, ::testing::ValuesIn(testing::level_names()),
                         [](const auto& info) { return info.param; });

TEST_P(QuantizedModel, WeightsOnlyIsTheModelThatHoldsThemBitForBit) {
  for (const char* kind : {"int8", "int4"}) {
    for (const auto& [activations, dtype] :
         {std::pair("_float32", Dtype::kFloat32), std::pair("_bfloat16", Dtype::kBfloat16)}) {
      Bench quantized(2, GetParam(), dtype_of(std::string(kind) + activations)), whole(2, GetParam(), dtype);
      const Model model = quantized.random_model();
      EXPECT_TRUE(model.embedding.quantized());
      const Model same = whole.load(dequantized(model));
      const Result ours = result_of(quantized, model), expected = result_of(whole, same);
      EXPECT_EQ(ours.logprobs, expected.logprobs) << kind << activations;
      EXPECT_EQ(ours.entropy, expected.entropy) << kind << activations;
      EXPECT_EQ(ours.gradients, expected.gradients) << kind << activations;
    }
  }
}

TEST_P(QuantizedModel, Int8ActivationsAreNearAndTheirGradientsToo) {
  for (const char* kind : {"int8", "int4"}) {
    Bench quantized(2, GetParam(), dtype_of(kind)), whole(2, GetParam());
    const Model model = quantized.random_model();
    const Model same = whole.load(dequantized(model));
    const Result ours = result_of(quantized, model), expected = result_of(whole, same);
    const double noise = noise_of_products(4 * 3 + 1);
    EXPECT_LT(relative_error(ours.logprobs, expected.logprobs), noise) << kind;
    // A probability, and with it a gradient, is off by as large a part as its logarithm is in nats.
    const double nats = noise * root_mean_square(expected.logprobs);
    EXPECT_LT(relative_error(ours.gradients, expected.gradients), nats) << kind;
    EXPECT_GT(relative_error(ours.logprobs, expected.logprobs), 1e-3) << kind << ": the roundings are there";
  }
}

TEST(QuantizedModels, TrainingAllWeightsIsRefused) {
  Bench bench(2, "", dtype_of("int8"));
  const Model model = bench.random_model();
  const auto refused = check_full_training(model);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "[full fine-tuning] the model's weights are held in int8: training all of them needs float32. Set dtype to "
            "float32, or train an adapter.");
}

TEST(QuantizedModels, TakesTheBytesThatItsFormatSays) {
  files::ModelConfig config = testing::tiny_config();
  config.hidden_size = 64, config.intermediate_size = 128, config.head_dim = 16, config.heads = 4;
  Bench eight(2, "", dtype_of("int8")), four(2, "", dtype_of("int4"));
  const Model a = eight.random_model(1, config), b = four.random_model(1, config);
  const PackedMatrix &up = a.layers[0][Linear::kUp], &up4 = b.layers[0][Linear::kUp];
  EXPECT_EQ(up.bytes(), up.out * up.in * 34 / 32);      // as Q8_0 in a file
  EXPECT_EQ(up4.bytes(), up4.out * up4.in * 18 / 32);   // as Q4_0
  EXPECT_EQ(b.embedding.bytes(), a.embedding.bytes());  // 8 bits in both
}

TEST(QuantizedModels, GoldenQ8IsTheFloat32ModelOrNear) {
  CANDOR_REQUIRE_FILE(golden("gguf/llama_q8_0.gguf"));
  const auto tensors = value_of(files::SafetensorsFile::open(golden("gguf/llama_q8_0.golden.safetensors")));
  const auto batch = candor::testing::read_golden_batch(tensors);
  const auto expected = batch.ragged(value_of(tensors.floats("logprobs")), 1);
  for (const std::string& level : testing::level_names()) {
    std::map<std::string, std::vector<float>> logprobs;
    for (const char* name : {"float32", "blocks_float32", "blocks"}) {
      Bench bench(2, level, dtype_of(name));
      const Model model = bench.load(value_of(files::open_model(golden("gguf/llama_q8_0.gguf"))));
      RowsForward forward(*bench.context, model, nullptr, batch.rows, Activations::Keep::kOneLayer);
      logprobs[name] = forward.shifted(forward.next().logprobs);
    }
    EXPECT_EQ(logprobs["blocks_float32"], logprobs["float32"]) << level;
    // Of 2 layers (the head is F32): in the mean square so much of a log-probability, and four times that at worst.
    const double noise = noise_of_products(4 * 2) * root_mean_square(expected);
    EXPECT_LT(worst_difference(logprobs["blocks"], expected), 4 * noise) << level;  // reason above
    EXPECT_GT(worst_difference(logprobs["blocks"], expected), 1e-4) << level;
  }
}

}  // namespace
}  // namespace candor::engine
