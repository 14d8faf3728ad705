// Training all weights: gradients that no split, thread or neighbour can change, finite differences, what the optimizer
// touches, and adapters with whole modules.
#include "engine/trainable.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "engine/gradient_shards.h"
#include "engine/optimizer.h"
#include "engine/testing.h"
#include "files/weight_names.h"

namespace candor::engine {
namespace {

using testing::Bench;
using testing::random_ids;

files::ModelConfig config_of(bool tied, bool bias = false) {
  files::ModelConfig c = testing::tiny_config();
  c.layers = 2;
  c.tied_head = tied;
  c.attention_bias = c.mlp_bias = bias;
  return c;
}

// Four groups of one prompt and two completions.
struct Data {
  std::vector<std::vector<int32_t>> ids;
  std::vector<RolloutGroup> groups;
  explicit Data(int64_t vocabulary = 1100) {
    for (uint32_t i = 0; i < 12; ++i) ids.push_back(random_ids(i % 3 == 0 ? 18 + i : 5 + 3 * i, vocabulary, i));
    for (size_t i = 0; i < ids.size(); i += 3) groups.push_back({ids[i], {ids[i + 1], ids[i + 2]}});
  }
};

// Any derivatives, some of them 0.
float coefficient(size_t entry) {
  return entry % 5 == 0 ? 0.0f : 0.02f * static_cast<float>((entry * 37) % 101) - 1.0f;
}

std::vector<float> gradients_of(const Bench& bench, const Model& model, const Trainable& trainable,
                                std::span<const RolloutGroup> groups, size_t groups_per_micro_batch) {
  PolicyPass pass(*bench.context, "policy", model,
                  trainable.adapter == nullptr ? 0 : trainable.adapter->max_padded_rank, PolicyPass::Keep::kAllLayers);
  std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats), 0.0f);
  size_t entry = 0;
  for (size_t g = 0; g < groups.size(); g += groups_per_micro_batch) {
    const auto part = groups.subspan(g, std::min(groups_per_micro_batch, groups.size() - g));
    std::vector<float> dlogprob, dentropy;
    for (size_t i = 0; i < pass.forward(trainable.adapter, part, 0.9).logprobs.size(); ++i, ++entry) {
      dlogprob.push_back(coefficient(entry));
      dentropy.push_back(0.1f * coefficient(entry));
    }
    pass.backward(trainable, dlogprob, dentropy, gradients.data());
  }
  add_tied_gradients(*bench.context, trainable, gradients.data());
  return gradients;
}

TEST(Trainable, SplitsAndThreadsDoNotChangeABit) {
  const Data data;
  struct Split {
    int threads;
    size_t groups;  // of a micro-batch
  };
  for (const bool tied : {false, true})
    for (const char* level : {"plain", ""}) {
      std::vector<float> expected;
      for (const Split split : {Split{1, 4}, {2, 1}, {5, 2}, {2, 3}}) {
        Bench bench(split.threads, level);
        Model model = bench.random_model(1, config_of(tied, true));
        const auto gradients = gradients_of(bench, model, trainable_of(model), data.groups, split.groups);
        if (expected.empty()) expected = gradients;
        ASSERT_EQ(gradients, expected) << split.threads << " threads, " << split.groups << " groups";
      }
      EXPECT_GT(std::count_if(expected.begin(), expected.end(), [](float g) { return g != 0; }), 50000);
    }
}

// Rows without coefficients are in the batch and leave no trace.
TEST(Trainable, RowsThatDoNotCountChangeNothing) {
  const Data data;
  Bench bench;
  Model model = bench.random_model(1, config_of(true));
  const Trainable trainable = trainable_of(model);
  PolicyPass pass(*bench.context, "policy", model, 0, PolicyPass::Keep::kAllLayers);
  auto gradients = [&](std::span<const RolloutGroup> groups) {
    const size_t entries = pass.forward(nullptr, groups, 1.0).logprobs.size();
    const size_t counted = static_cast<size_t>(groups[0].completion_tokens());
    std::vector<float> dlogprob(entries, 0.0f), sums(static_cast<size_t>(trainable.gradient_floats), 0.0f);
    std::fill_n(dlogprob.begin(), counted, -0.5f);
    pass.backward(trainable, dlogprob, std::vector<float>(entries, 0.0f), sums.data());
    return sums;
  };
  const auto alone = gradients(std::span(data.groups).first(1)), together = gradients(data.groups);
  for (size_t i = 0; i < alone.size(); ++i) ASSERT_EQ(together[i], alone[i]) << i;  // -0 equals 0
}

// Directional derivatives of the objective along each tensor's own gradient.
double worst_derivative_error(const char* level, bool tied, float twist) {
  Bench bench(2, level);
  Model model = bench.random_model(1, config_of(tied, true));
  const Trainable trainable = trainable_of(model);
  const Data data;
  const std::span<const RolloutGroup> groups = std::span(data.groups).first(2);
  const auto gradients = gradients_of(bench, model, trainable, groups, 2);
  PolicyPass pass(*bench.context, "policy", model, 0, PolicyPass::Keep::kOneLayer);
  auto objective = [&] {
    const HeadOutput& out = pass.forward(nullptr, groups, 0.9);
    double sum = 0;
    for (size_t i = 0; i < out.logprobs.size(); ++i) {
      sum += static_cast<double>(coefficient(i)) * static_cast<double>(out.logprobs[i]);
      sum += static_cast<double>(0.1f * coefficient(i)) * static_cast<double>(out.entropy[i]);
    }
    return sum;
  };
  double worst = 0;
  for (const ParameterTensor& tensor : trainable.tensors) {
    const float* gradient = gradients.data() + tensor.offset;
    const std::vector<float> saved(tensor.values, tensor.values + tensor.size);
    double squares = 0;
    for (int64_t i = 0; i < tensor.size; ++i) squares += static_cast<double>(gradient[i]) * gradient[i];
    EXPECT_GT(squares, 0) << tensor.name;
    // A step of this length along the gradient's direction changes the objective by about length·|gradient|.
    const double length = 2e-2, norm = std::sqrt(squares);
    double values[2];
    for (const int side : {0, 1}) {
      for (int64_t i = 0; i < tensor.size; ++i)
        tensor.values[i] =
            saved[i] + static_cast<float>((side == 0 ? -length : length) * static_cast<double>(gradient[i]) / norm);
      values[side] = objective();
    }
    std::copy(saved.begin(), saved.end(), tensor.values);
    const double error = std::abs((values[1] - values[0]) / (2 * length) / (norm * static_cast<double>(twist)) - 1);
    worst = std::max(worst, error);
  }
  return worst;
}

TEST(Trainable, GradientsMatchFiniteDifferences) {
  for (const bool tied : {false, true}) {
    // The third-order term of the step and the rounding of some 100 float32 terms; a lost part of a gradient is far
    // more.
    EXPECT_LT(worst_derivative_error("", tied, 1.0f), 2e-2) << tied;
    EXPECT_GT(worst_derivative_error("", tied, 1.05f), 4e-2) << tied;  // the broken twin
  }
}

TEST(Trainable, ListsEveryWeightOnce) {
  for (const bool tied : {false, true}) {
    Bench bench;
    Model model = bench.random_model(1, config_of(tied, true));
    const Trainable trainable = trainable_of(model);
    std::set<std::string> names, expected;
    int64_t parameters = 0, floats = 0;
    for (const ParameterTensor& tensor : trainable.tensors) {
      names.insert(tensor.name);
      EXPECT_EQ(tensor.offset, floats);
      floats += tensor.size;
      const bool vector = tensor.name.find("norm") != std::string::npos || tensor.name.ends_with(".bias");
      EXPECT_EQ(tensor.decay, !vector) << tensor.name;
    }
    for (const files::ExpectedWeight& weight : files::expected_weights(model.config)) {
      expected.insert(weight.name);
      int64_t size = 1;
      for (int64_t n : weight.shape) size *= n;
      parameters += size;
    }
    EXPECT_EQ(names, expected);
    EXPECT_EQ(trainable.parameters, parameters);
    EXPECT_EQ(trainable.floats, floats);
    EXPECT_EQ(trainable.gradient_floats, floats + (tied ? model.embedding.data.size() : 0));
  }
}

TEST(Trainable, BfloatWeightsAreRefused) {
  Bench bench;
  const files::ModelFiles files = testing::random_model_files(config_of(true), 1);
  EXPECT_TRUE(check_full_training(std::move(load_model(*bench.context, files, Dtype::kFloat32)).value()));
  const auto refused = check_full_training(std::move(load_model(*bench.context, files, Dtype::kBfloat16)).value());
  ASSERT_FALSE(refused);
  EXPECT_EQ(
      refused.error().message,
      "[full fine-tuning] the model's weights are held in bfloat16: training all of them needs float32. Set dtype "
      "to float32, or train an adapter.");
}

TEST(Trainable, ShardsAddTheTiedGradientsOnce) {
  const Data data;
  Bench bench;
  Model model = bench.random_model(1, config_of(true));
  const Trainable trainable = trainable_of(model);
  const auto expected = gradients_of(bench, model, trainable, data.groups, 4);
  PolicyPass pass(*bench.context, "policy", model, 0, PolicyPass::Keep::kAllLayers);
  GradientShards shards(bench.ledger, 1, trainable);
  const Buffer& total = shards.reduce(*bench.context, [&](int64_t, float* gradients) {
    std::vector<float> dlogprob, dentropy;
    for (size_t i = 0; i < pass.forward(nullptr, data.groups, 0.9).logprobs.size(); ++i) {
      dlogprob.push_back(coefficient(i));
      dentropy.push_back(0.1f * coefficient(i));
    }
    pass.backward(trainable, dlogprob, dentropy, gradients);
  });
  ASSERT_EQ(std::vector<float>(total.data(), total.data() + total.size()), expected);
}

// An adapter with both modules saved, and their values moved away from the base's.
Adapter adapter_with_modules(const Bench& bench, const Model& model) {
  files::LoraConfig config;
  config.r = 4;
  config.target_modules = {"q_proj"};
  config.modules_to_save = {"lm_head", "embed_tokens"};
  return std::move(make_adapter(*bench.context, model, config, 3)).value();
}

TEST(SavedModules, BeginAsTheBaseAndLeaveItAlone) {
  const Data data;
  for (const bool tied : {false, true}) {
    Bench bench;
    const Model model = bench.random_model(1, config_of(tied));
    Adapter adapter = adapter_with_modules(bench, model);
    EXPECT_EQ(adapter.trainable, 2 * 4 * (40 + 72) + 2 * 1100 * 40);
    PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
    const auto base = pass.forward(nullptr, data.groups, 1.0).logprobs;
    EXPECT_EQ(pass.forward(&adapter, data.groups, 1.0).logprobs, base);
    const Trainable trainable = trainable_of(adapter);
    EXPECT_EQ(trainable.parameters, adapter.trainable);
    AdamwState state = make_adamw(*bench.context, trainable);
    const auto gradients = gradients_of(bench, model, trainable, data.groups, 4);
    const double norm = gradient_norm(*bench.context, trainable, gradients.data());
    adamw_step(*bench.context, {}, 1e-2, norm, gradients.data(), state, trainable);
    EXPECT_NE(pass.forward(&adapter, data.groups, 1.0).logprobs, base);
    EXPECT_EQ(pass.forward(nullptr, data.groups, 1.0).logprobs, base);  // adapters off
    // With a tied base the copies part: what the head learnt is not what the embedding learnt.
    std::vector<float> embedding(40), head(40);
    adapter.saved.embedding->copy_row(data.ids[0][0], embedding.data());
    adapter.saved.head->copy_row(data.ids[0][0], head.data());
    EXPECT_NE(embedding, head);
  }
}

// The gradient of a saved module is that of the weight itself; tied or not, each copy has its own use only.
TEST(SavedModules, HaveTheGradientsOfTheWeights) {
  const Data data;
  for (const bool tied : {false, true}) {
    Bench bench;
    Model model = bench.random_model(1, config_of(tied));
    Adapter adapter = adapter_with_modules(bench, model);
    const Trainable saved = trainable_of(adapter), full = trainable_of(model);
    const auto ours = gradients_of(bench, model, saved, data.groups, 2);
    auto all = gradients_of(bench, model, full, data.groups, 2);
    const int64_t size = model.embedding.data.size();
    for (int64_t i = 0; i < size; ++i) {
      const float embedding = ours[saved.weights.embedding + i], head = ours[saved.weights.head + i];
      ASSERT_EQ(all[full.weights.embedding + i], embedding) << i;
      ASSERT_EQ(all[full.weights.head + i], tied ? head + embedding : head) << i;
    }
  }
}

TEST(SavedModules, OthersAreRefusedByName) {
  Bench bench;
  const Model model = bench.random_model();
  files::LoraConfig config;
  config.target_modules = {"q_proj"};
  config.modules_to_save = {"lm_head", "norm"};
  const auto refused = make_adapter(*bench.context, model, config, 3);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "[adapter] modules_to_save names \"norm\": only lm_head and embed_tokens can be trained whole beside an "
            "adapter. Leave it out, or train all weights (full fine-tuning).");
  files::PeftAdapter saved = adapter_to_peft(adapter_with_modules(bench, model));
  ASSERT_EQ(saved.saved_weights.size(), 2u);
  saved.saved_weights[1].shape = {1099, 40};
  const auto other = adapter_from_peft(*bench.context, model, saved);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().message,
            "[adapter] the adapter's copy of lm_head.weight has the shape [1099, 40], this model's has [1100, 40]: it "
            "belongs to another base model.");
  saved.saved_weights.pop_back();
  const auto incomplete = adapter_from_peft(*bench.context, model, saved);
  ASSERT_FALSE(incomplete);
  EXPECT_EQ(incomplete.error().message,
            "[adapter] adapter_config.json saves lm_head (modules_to_save), but the adapter holds no copy of it.");
}

}  // namespace
}  // namespace candor::engine
