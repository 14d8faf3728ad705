// Layers that the backward pass computes once more: the same bits as kept ones, at every kernel level and in every
// dtype, and the memory that the plan counts on.
#include <gtest/gtest.h>

#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;
using testing::random_ids;

// Groups whose completions straddle pages.
struct Data {
  std::vector<std::vector<int32_t>> ids;
  std::vector<RolloutGroup> groups;
  Data() {
    for (uint32_t i = 0; i < 12; ++i) ids.push_back(random_ids(i % 3 == 0 ? 14 + i : 5 + 3 * i, 1100, i));
    for (size_t i = 0; i < ids.size(); i += 3) groups.push_back({ids[i], {ids[i + 1], ids[i + 2]}});
  }
};

// The gradient of all groups, two at a time. `meddle` runs between each forward and its backward.
std::vector<float> gradients_of(Bench& bench, const Model& model, const Trainable& trainable, int64_t most_bytes,
                                const std::function<void(PolicyPass&)>& meddle = {}) {
  const Data data;
  PolicyPass pass(*bench.context, "policy", model,
                  trainable.adapter == nullptr ? 0 : trainable.adapter->max_padded_rank, Keep::kAllLayers, most_bytes);
  pass.set_dropout(DropoutKey{3, 8});  // of adapters that have some
  std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats), 0.0f);
  for (size_t g = 0; g < data.groups.size(); g += 2) {
    const size_t entries = pass.forward(trainable.adapter, std::span(data.groups).subspan(g, 2), 0.9).logprobs.size();
    std::vector<float> dlogprob;
    for (size_t i = 0; i < entries; ++i) dlogprob.push_back(0.01f * static_cast<float>((i * 37) % 101) - 0.5f);
    if (meddle) meddle(pass);
    pass.backward(trainable, dlogprob, dlogprob, gradients.data());
  }
  return gradients;
}

// Bytes of the batches above: one that is above the limit and one that is not.
int64_t bytes_of_smaller_batch(const Model& model, int64_t rank, int threads) {
  const Data data;
  return activation_bytes(model.config, model.dtype, data.groups[0].tokens() + data.groups[1].tokens(), rank,
                          Keep::kAllLayers, threads);
}

class Recomputation : public ::testing::TestWithParam<std::tuple<std::string, Dtype>> {
 protected:
  std::string_view level() const { return std::get<0>(GetParam()); }
  Dtype dtype() const { return std::get<1>(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(All, Recomputation,
                         ::testing::Combine(::testing::ValuesIn(testing::level_names()),
                                            ::testing::Values(Dtype::kFloat32, Dtype::kBfloat16)),
                         [](const auto& info) {
                           return fmt::format("{}_{}", std::get<0>(info.param), dtype_name(std::get<1>(info.param)));
                         });

TEST_P(Recomputation, ChangesNoBitOfAnAdaptersGradients) {
  Bench bench(2, level(), dtype());
  const Model llama = bench.random_model();
  const Model gpt2 = bench.random_model(1, testing::tiny_gpt2_config());
  struct Case {
    const Model& model;
    bool dora;
    double dropout;
  };
  for (const auto& [model, dora, dropout] : {Case{llama, false, 0}, Case{llama, true, 0}, Case{llama, false, 0.25},
                                             Case{llama, true, 0.25}, Case{gpt2, false, 0}, Case{gpt2, true, 0}}) {
    Adapter adapter = bench.random_adapter(model, 4, 7, dora);
    adapter.config.dropout = dropout;
    const Trainable trainable = trainable_of(adapter);
    const auto kept = gradients_of(bench, model, trainable, Activations::kNoLimit);
    EXPECT_EQ(gradients_of(bench, model, trainable, 0), kept);
    const int64_t some = bytes_of_smaller_batch(model, adapter.max_padded_rank, 2);
    std::vector<Keep> keeps;
    EXPECT_EQ(gradients_of(bench, model, trainable, some,
                           [&](PolicyPass& pass) { keeps.push_back(pass.activations().keep()); }),
              kept);
    EXPECT_EQ(keeps, (std::vector{Keep::kAllLayers, Keep::kLayerInputs}));
    EXPECT_GT(std::count_if(kept.begin(), kept.end(), [](float g) { return g != 0; }), 5000);
  }
}

TEST_P(Recomputation, ChangesNoBitOfTheWeightsGradients) {
  if (dtype() == Dtype::kBfloat16) GTEST_SKIP() << "bfloat16 weights train through masters, with the same passes";
  Bench bench(2, level(), dtype());
  files::ModelConfig config = testing::tiny_config();
  config.tied_head = true;
  config.attention_bias = config.mlp_bias = true;
  for (const files::ModelConfig& each : {config, testing::tiny_gpt2_config()}) {
    Model model = bench.random_model(1, each);
    const Trainable trainable = trainable_of(model);
    const auto kept = gradients_of(bench, model, trainable, Activations::kNoLimit);
    EXPECT_EQ(gradients_of(bench, model, trainable, 0), kept);
    EXPECT_EQ(gradients_of(bench, model, trainable, bytes_of_smaller_batch(model, 0, 2)), kept);
  }
}

// The broken twin: a layer computed from another layer's input.
TEST_P(Recomputation, FromAnotherLayersInputIsNoticed) {
  Bench bench(2, level(), dtype());
  const Model model = bench.random_model();
  Adapter adapter = bench.random_adapter(model);
  const Trainable trainable = trainable_of(adapter);
  const auto broken = gradients_of(bench, model, trainable, 0, [&](PolicyPass& pass) {
    Activations& a = pass.activations();
    std::copy_n(a.layer(0).input, pass.batch().tokens() * padded(model.config.hidden_size), a.layer(1).input);
  });
  EXPECT_NE(broken, gradients_of(bench, model, trainable, 0));
}

// What a pass allocates is what the functions for the plan say, to the byte.
void expect_planned_bytes(const files::ModelConfig& config, Dtype dtype, bool dora) {
  for (const Keep keep : {Keep::kOneLayer, Keep::kLayerInputs, Keep::kAllLayers}) {
    Bench bench(2, "", dtype);
    const Model model = bench.random_model(1, config);
    Adapter adapter = bench.random_adapter(model, 4, 7, dora);
    PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, keep);
    const Data data;
    pass.forward(&adapter, std::span(data.groups).first(1), 1.0);
    const size_t count = pass.forward(&adapter, data.groups, 1.0).logprobs.size();
    if (keep != Keep::kOneLayer) {
      const Trainable trainable = trainable_of(adapter);
      std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats)), ones(count, 1.0f);
      pass.backward(trainable, ones, ones, gradients.data());
    }
    int64_t activations = 0, pages = 0, logits = 0;
    for (const MemoryLedger::Entry& entry : bench.ledger.entries()) {
      const bool of_backward = entry.name == "d hidden states" || entry.name == "kv gradients";
      if (entry.role == "policy" && !of_backward)
        (entry.name == "kv pages" ? pages : entry.name == "logits" ? logits : activations) += entry.bytes;
    }
    const int64_t kept = keep == Keep::kOneLayer ? 0 : kept_rows(static_cast<int64_t>(count), config.vocab_size);
    EXPECT_EQ(logits, 4 * kept_floats(kept, config.vocab_size));
    EXPECT_EQ(activations, activation_bytes(model.config, dtype, pass.batch().tokens(), adapter.max_padded_rank, keep,
                                            bench.pool.threads(), dora));
    int32_t last_page = 0;
    for (const Segment& segment : pass.batch().segments)
      last_page = std::max(last_page, *std::max_element(segment.pages.begin(), segment.pages.end()));
    EXPECT_EQ(pages,
              kv_pool_bytes(model.config, dtype, last_page + 1, keep == Keep::kAllLayers ? model.config.layers : 1));
  }
}

TEST(ActivationMemory, IsWhatThePlanCounts) {
  for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBfloat16})
    for (const bool dora : {false, true}) {
      expect_planned_bytes(testing::tiny_config(), dtype, dora);
      expect_planned_bytes(testing::tiny_gpt2_config(), dtype, dora);
    }
}

// One row of 8192 tokens through SmolLM2 in float32, with LoRA of rank 16: what all of a pass takes beside the head.
TEST(ActivationMemory, OfALongRowIsSmallWithLayerInputs) {
  files::ModelConfig c;
  c.hidden_size = 576, c.intermediate_size = 1536, c.layers = 30;
  c.heads = 9, c.kv_heads = 3, c.head_dim = 64;
  constexpr int64_t kTokens = 8192;
  auto bytes = [&](Keep keep) { return activation_bytes(c, Dtype::kFloat32, kTokens, 16, keep, 2) / kTokens; };
  EXPECT_LT(bytes(Keep::kLayerInputs), 105'000);  // 31 inputs of 2304 bytes, one layer's 20 KB, scratch
  EXPECT_GT(bytes(Keep::kAllLayers), 600'000);
  EXPECT_EQ(kv_pool_bytes(c, Dtype::kFloat32, kTokens / kPageTokens, 1), kTokens * 2 * 192 * 4);
}

}  // namespace
}  // namespace candor::engine
