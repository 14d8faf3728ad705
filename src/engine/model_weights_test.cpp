#include "engine/model_weights.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/testing.h"
#include "files/weight_names.h"

namespace candor::engine {
namespace {

using testing::Bench;

std::vector<float> all_rows(const files::WeightReader& reader, const files::WeightInfo& weight) {
  std::vector<float> values(static_cast<size_t>(weight.shape[0] * (weight.shape.size() == 2 ? weight.shape[1] : 1)));
  EXPECT_TRUE(reader.read_rows(weight.name, 0, weight.shape[0], values.data()));
  return values;
}

TEST(ModelWeights, ReadBackWhatWasLoaded) {
  files::ModelConfig untied = testing::tiny_config();
  untied.attention_bias = untied.mlp_bias = true;
  files::ModelConfig tied = untied;
  tied.tied_head = true;
  for (const files::ModelConfig& config : {untied, tied, testing::tiny_gpt2_config()}) {
    const files::ModelFiles files = testing::random_model_files(config, 1);
    Bench bench;
    const Model model = bench.load(files);
    const ModelWeights weights(model);
    const auto expected = files::expected_weights(config);
    ASSERT_EQ(weights.weights().size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      const files::WeightInfo& weight = weights.weights()[i];
      EXPECT_EQ(weight.name, expected[i].name);
      EXPECT_EQ(weight.shape, expected[i].shape);
      const auto ours = all_rows(weights, weight);
      EXPECT_EQ(ours, all_rows(*files.weights, weight)) << weight.name;
      if (weight.shape.size() == 1) continue;
      std::vector<float> part(static_cast<size_t>(3 * weight.shape[1]));  // rows of two panels
      EXPECT_TRUE(weights.read_rows(weight.name, 15, 18, part.data()));
      EXPECT_TRUE(std::equal(part.begin(), part.end(), ours.begin() + 15 * weight.shape[1]));
    }
  }
}

void expect_transformers_distribution(const files::ModelConfig& config) {
  Bench bench;
  const Model model = std::move(make_model(*bench.context, config, 5)).value();
  const ModelWeights weights(model);
  for (const files::WeightInfo& weight : weights.weights()) {
    const auto values = all_rows(weights, weight);
    double sum = 0, squares = 0;
    for (float value : values) {
      sum += static_cast<double>(value);
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
    const double n = static_cast<double>(values.size()), mean = sum / n;
    if (weight.shape.size() == 1) {
      EXPECT_EQ(mean, weight.name.ends_with(".bias") ? 0.0 : 1.0) << weight.name;
      EXPECT_EQ(squares, sum) << weight.name;
      continue;
    }
    // GPT-2's layers that write to the residual stream are drawn narrower (GPT2PreTrainedModel._init_weights).
    const bool narrow = weight.name.ends_with(".c_proj.weight");
    const double deviation = narrow ? 0.02 / std::sqrt(2.0 * static_cast<double>(config.layers)) : 0.02;
    EXPECT_NEAR(mean, 0, 5 * deviation / std::sqrt(n)) << weight.name;  // five standard errors, here and below
    EXPECT_NEAR(std::sqrt(squares / n), deviation, 5 * deviation / std::sqrt(2 * n)) << weight.name;
  }
}

TEST(InitialWeights, AreTransformersDistribution) {
  files::ModelConfig llama = testing::tiny_config();
  llama.attention_bias = true;
  expect_transformers_distribution(llama);
  expect_transformers_distribution(testing::tiny_gpt2_config());
}

TEST(InitialWeights, DependOnTheSeedOnly) {
  const files::ModelConfig config = testing::tiny_config();
  std::vector<std::vector<float>> drawn;
  for (const auto& [threads, seed] : {std::pair{1, 5}, {2, 5}, {2, 6}}) {
    Bench bench(threads);
    const Model model = std::move(make_model(*bench.context, config, static_cast<uint64_t>(seed))).value();
    const Buffer& q = model.layers[0][Linear::kQ].data;
    drawn.emplace_back(q.data(), q.data() + q.size());
    const Buffer& next = model.layers[1][Linear::kQ].data;
    EXPECT_NE(drawn.back(), std::vector<float>(next.data(), next.data() + next.size()));
  }
  EXPECT_EQ(drawn[0], drawn[1]);
  EXPECT_NE(drawn[1], drawn[2]);
}

}  // namespace
}  // namespace candor::engine
