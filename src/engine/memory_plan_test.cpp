// A plan against the ledger of the same work done for real, entry by entry.
#include "engine/memory_plan.h"

#include <gtest/gtest.h>

#include <array>

#include "engine/gradient_shards.h"
#include "engine/model_weights.h"
#include "engine/optimizer.h"
#include "engine/sampler.h"
#include "engine/score.h"
#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;
using testing::random_ids;
using testing::tiny_config;

// What a plan has of a model: no values.
files::ModelFiles shapes_of(const files::ModelConfig& config, const std::string& type) {
  files::ModelFiles files;
  files.config = config;
  files.weights = weight_shapes(config, type);
  return files;
}

std::map<std::string, int64_t> by_name(const std::vector<PlannedBuffer>& buffers) {
  std::map<std::string, int64_t> all;
  for (const PlannedBuffer& b : buffers) all[fmt::format("{}/{}/{}", kind_name(b.kind), b.owner, b.name)] = b.bytes;
  return all;
}

// Model, adapter, moments and gradients on either ledger; then `work`.
void prepared(const Context& context, const files::ModelFiles& files, Dtype dtype,
              const std::function<void(Model&, Adapter&)>& work) {
  Model model = std::move(load_model(context, files, dtype)).value();
  files::LoraConfig lora;
  lora.r = 5;
  lora.target_modules = {"all-linear"};
  lora.modules_to_save = {"lm_head"};
  Adapter adapter = std::move(make_adapter(context, model, lora, 1)).value();
  const AdamwState optimizer = make_adamw(context, trainable_of(adapter));
  work(model, adapter);
}

class MemoryPlanTest : public ::testing::TestWithParam<Dtype> {};

TEST_P(MemoryPlanTest, TrainingIsWhatThePlanSays) {
  const files::ModelFiles files = testing::random_model_files(tiny_config(), 3);
  std::vector<std::vector<int32_t>> prompts, completions;
  const std::array<int64_t, 4> lengths = {1, 17, 0, 30};
  for (uint32_t i = 0; i < 3; ++i) prompts.push_back(random_ids(13 + 9 * i, 1100, i));
  for (uint32_t i = 0; i < 12; ++i) completions.push_back(random_ids(lengths[i % 4], 1100, 10 + i));
  std::vector<RolloutGroup> groups;
  for (size_t g = 0; g < 3; ++g) {
    groups.push_back({prompts[g], {}});
    for (size_t i = 0; i < 4; ++i) groups[g].completions.emplace_back(completions[4 * g + i]);
  }

  Bench bench(2, "", GetParam());
  prepared(*bench.context, files, GetParam(), [&](Model& model, Adapter& adapter) {
    const Trainable trainable = trainable_of(adapter);
    GradientShards shards(bench.ledger, 3, trainable);
    PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
    const size_t entries = pass.forward(&adapter, groups, 1.0).logprobs.size();
    pass.backward(trainable, std::vector<float>(entries, 0.1f), std::vector<float>(entries), shards.total().data());
  });

  Planner planner(bench.context->kernels, bench.pool);
  prepared(planner.context(), shapes_of(files.config, "F32"), GetParam(), [&](Model& model, Adapter& adapter) {
    const Trainable trainable = trainable_of(adapter);
    const GradientShards shards(planner.context().ledger, 3, trainable);
    PolicyPass pass(planner.context(), "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
    BatchShape shape;
    for (size_t g = 0; g < 3; ++g) shape.add(static_cast<int64_t>(prompts[g].size()), lengths);
    planner.phase("training", [&] { pass.plan(shape, &adapter, &trainable); });
  });
  const MemoryPlan plan = planner.take();
  EXPECT_EQ(by_name(plan.buffers), by_name(planned_buffers(bench.ledger.entries(), true)));
  EXPECT_EQ(plan.peak_bytes(), bench.ledger.peak_bytes());
  EXPECT_GT(plan.peak().bytes(BufferKind::kKvCache), 0);
  EXPECT_GT(plan.peak().bytes(BufferKind::kAdapters), 0);
}

TEST_P(MemoryPlanTest, SamplingAndScoringAreWhatThePlanSays) {
  const files::ModelFiles files = testing::random_model_files(tiny_config(), 3);
  SamplingOptions options;
  options.max_new_tokens = 21;  // no stop id: every completion is as long as it may be
  options.max_rows = 8;
  options.repetition_penalty = 1.5;
  std::vector<SampleRequest> requests;
  for (uint32_t i = 0; i < 2; ++i) requests.push_back({random_ids(37, 1100, i), 4});
  std::vector<std::vector<int32_t>> sequences;
  const std::array<int64_t, 3> lengths = {700, 900, 2};
  for (uint32_t i = 0; i < 3; ++i) sequences.push_back(random_ids(lengths[i], 1100, i));

  Bench bench(2, "", GetParam());
  prepared(*bench.context, files, GetParam(), [&](Model& model, Adapter& adapter) {
    sample(*bench.context, model, &adapter, requests, options, nullptr, {});
    score_sequences(*bench.context, model, nullptr, sequences, [](size_t, const SequenceScore&) { return true; });
  });

  Planner planner(bench.context->kernels, bench.pool);
  prepared(planner.context(), files, GetParam(), [&](Model& model, Adapter& adapter) {
    planner.phase("sampling", [&] { plan_sampling(planner.context(), model, &adapter, {2, 4, 37, 21}, options); });
    planner.phase("scoring", [&] { plan_scoring(planner.context(), model, nullptr, lengths); });
  });
  const MemoryPlan plan = planner.take();
  EXPECT_EQ(by_name(plan.buffers), by_name(planned_buffers(bench.ledger.entries(), true)));
  EXPECT_EQ(plan.peak_bytes(), bench.ledger.peak_bytes());
}

INSTANTIATE_TEST_SUITE_P(Dtypes, MemoryPlanTest, ::testing::Values(Dtype::kFloat32, Dtype::kBfloat16));

TEST(MemoryPlan, APhaseStartsFromWhatIsHeld) {
  Bench bench;
  Planner planner(bench.context->kernels, bench.pool);
  planner.hold("data", "rows", 1000);
  planner.phase("one", [&] { const Buffer big(planner.context().ledger, "policy", "activations", 1000); });
  planner.phase("two", [&] { const Buffer small(planner.context().ledger, "policy", "kv pages", 10); });
  const MemoryPlan plan = planner.take();
  ASSERT_EQ(plan.phases.size(), 2u);
  EXPECT_EQ(plan.phases[0].bytes(), 5000);
  EXPECT_EQ(plan.phases[1].bytes(), 1040);
  EXPECT_EQ(plan.peak().name, "one");
  EXPECT_EQ(plan.phases[1].bytes(BufferKind::kKvCache), 40);
  EXPECT_EQ(plan.phases[1].bytes(BufferKind::kData), 1000);
  EXPECT_EQ(plan.phases[0].buffers[0].owner, "policy");
}

TEST(MemoryPlan, ARoleWithALedgerOfItsOwn) {
  MemoryLedger whole;
  MemoryLedger of_role(whole, "reward");
  EXPECT_FALSE(of_role.planned());
  of_role.change("adapter", "parameters", 10);
  of_role.change("weights", "model.layers.3.mlp.up_proj.weight", 20);
  of_role.change("weights", "model.layers.4.mlp.up_proj.weight", 20);
  of_role.change("policy", "kv pages", 30);
  const auto buffers = planned_buffers(whole.entries());
  ASSERT_EQ(buffers.size(), 3u);
  EXPECT_EQ(buffers[0].kind, BufferKind::kWeights);
  EXPECT_EQ(buffers[0].name, "layers: mlp.up_proj.weight");
  EXPECT_EQ(buffers[0].bytes, 40);
  EXPECT_EQ(buffers[1].kind, BufferKind::kAdapters);
  EXPECT_EQ(buffers[1].owner, "reward");
  EXPECT_EQ(buffers[2].kind, BufferKind::kKvCache);
}

// A buffer of a plan has no memory: what a billion floats would take is not there to be touched.
TEST(MemoryPlan, LargerThanAnyMachine) {
  files::ModelConfig c = tiny_config();
  c.hidden_size = 1 << 14, c.intermediate_size = 1 << 16, c.layers = 4096, c.heads = 128, c.kv_heads = 128;
  c.head_dim = 128, c.vocab_size = 1 << 20;
  Bench bench;
  Planner planner(bench.context->kernels, bench.pool);
  const Model model = std::move(load_model(planner.context(), shapes_of(c, "BF16"))).value();
  planner.phase("weights", [] {});
  const int64_t layer = 4 * c.hidden_size * c.hidden_size + 3 * c.hidden_size * c.intermediate_size;
  const int64_t norms = 4 * c.hidden_size * (2 * c.layers + 1);
  EXPECT_EQ(planner.take().peak_bytes(), 2 * (c.layers * layer + 2 * c.vocab_size * c.hidden_size) + norms);
}

}  // namespace
}  // namespace candor::engine
