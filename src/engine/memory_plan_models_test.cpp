// Plans of whole models against the ledger of the same work done for real, byte for byte: every family, dtype and kind
// of training, two steps of it with a reference pass, sampling and scoring. A plan has the model's shapes alone.
#include <gtest/gtest.h>

#include <array>
#include <tuple>

#include "engine/gradient_shards.h"
#include "engine/memory_plan.h"
#include "engine/model_weights.h"
#include "engine/optimizer.h"
#include "engine/sampler.h"
#include "engine/score.h"
#include "engine/testing.h"
#include "files/llama_shapes.h"
#include "support/golden_model.h"

namespace candor::engine {
namespace {

using candor::testing::golden;
using candor::testing::value_of;
using testing::Bench;
using testing::random_ids;
using Keep = PolicyPass::Keep;

// What of a model trains: an adapter, or (without targets) every weight.
files::LoraConfig lora_of(std::string_view kind) {
  files::LoraConfig lora;
  lora.r = 5;
  if (kind != "full") lora.target_modules = {"all-linear"};
  if (kind == "dora") lora.use_dora = true;
  if (kind == "dropout") lora.dropout = 0.25;
  if (kind == "pissa") lora.init = files::LoraInit::kPissa;
  if (kind == "embedding and head") lora.target_modules = {"q_proj", "embed_tokens", "lm_head"};
  if (kind == "saved modules") lora.modules_to_save = {"lm_head", "embed_tokens"};
  return lora;
}

// What both ledgers are given. policy and reference stay from step to step.
struct Parts {
  const Context& context;
  const Model& model;
  const Adapter* adapter;
  const Trainable& trainable;
  GradientShards& shards;
  PolicyPass &policy, &reference;
};

void with_parts(const Context& context, const files::ModelFiles& files, Dtype dtype, const files::LoraConfig& lora,
                int64_t most_bytes, const std::function<void(const Parts&)>& work) {
  Model model = value_of(load_model(context, files, dtype));
  std::optional<Adapter> adapter;
  if (!lora.target_modules.empty()) adapter = value_of(make_adapter(context, model, lora, 1));
  if (!adapter) {
    ASSERT_TRUE(add_master_weights(context, files, model));
  }
  const Trainable trainable = adapter ? trainable_of(*adapter) : trainable_of(model);
  const AdamwState optimizer = make_adamw(context, trainable);
  PolicyPass policy(context, "policy", model, adapter ? adapter->max_padded_rank : 0, Keep::kAllLayers, most_bytes);
  PolicyPass reference(context, "reference", model, 0, Keep::kOneLayer);
  GradientShards shards(context.ledger, 3, trainable);
  work({context, model, adapter ? &*adapter : nullptr, trainable, shards, policy, reference});
}

constexpr int64_t kPrompt = 21, kCompletions = 4, kNewTokens = 18;
constexpr std::array<int64_t, kCompletions> kLengths = {1, 17, 0, 18};
constexpr std::array<int64_t, 2> kScored = {30, 41};

SamplingOptions sampling() {
  SamplingOptions options;
  options.max_new_tokens = kNewTokens;  // no stop id: every completion is as long as it may be
  options.max_rows = 8;
  return options;
}

void run_two_steps(const Parts& parts) {
  const int64_t vocabulary = parts.model.config.vocab_size;
  const std::vector<int32_t> prompt = random_ids(kPrompt, vocabulary, 0);
  std::vector<std::vector<int32_t>> completions, scored;
  for (const int64_t length : kLengths) completions.push_back(random_ids(length, vocabulary, 1));
  for (const int64_t length : kScored) scored.push_back(random_ids(length, vocabulary, 2));
  const RolloutGroup group{prompt, {completions.begin(), completions.end()}};
  const std::vector<SampleRequest> requests(3, {prompt, kCompletions});
  for (uint32_t step = 0; step < 2; ++step) {
    parts.policy.set_dropout(DropoutKey{1, step});
    parts.shards.reduce(parts.context, [&](int64_t, float* gradients) {
      const size_t entries = parts.policy.forward(parts.adapter, {&group, 1}, 1.0).logprobs.size();
      parts.policy.backward(parts.trainable, std::vector<float>(entries, 0.1f), std::vector<float>(entries), gradients);
    });
    parts.reference.forward(nullptr, {&group, 1}, 1.0);
    sample(parts.context, parts.model, parts.adapter, requests, sampling(), nullptr, {});
    score_sequences(parts.context, parts.model, nullptr, scored, [](size_t, const SequenceScore&) { return true; });
  }
}

MemoryPlan plan_two_steps(const Parts& parts, Planner& planner) {
  BatchShape shape;
  shape.add(kPrompt, kLengths);
  for (int step = 0; step < 2; ++step) {
    planner.phase("training", [&] { parts.policy.plan(shape, parts.adapter, &parts.trainable); });
    planner.phase("reference", [&] { parts.reference.plan(shape, nullptr, nullptr); });
    planner.phase("sampling", [&] {
      plan_sampling(parts.context, parts.model, parts.adapter, {3, kCompletions, kPrompt, kNewTokens}, sampling());
    });
    planner.phase("scoring", [&] { plan_scoring(parts.context, parts.model, nullptr, kScored); });
  }
  return planner.take();
}

// By the ledger's own words: no two buffers are taken together.
std::map<std::string, int64_t> by_name(const std::vector<PlannedBuffer>& buffers) {
  std::map<std::string, int64_t> all;
  for (const PlannedBuffer& b : buffers) all[fmt::format("{}/{}/{}", kind_name(b.kind), b.owner, b.name)] = b.bytes;
  return all;
}

// The plan of a model that is there, or of which only config.json is.
void expect_planned(const files::ModelFiles& files, const files::ModelFiles& shapes, Dtype dtype,
                    const std::string& kind, int64_t most_bytes) {
  SCOPED_TRACE(fmt::format("{}, {}, {}", files.path.filename().string(), dtype_name(dtype), kind));
  Bench bench(2);
  with_parts(*bench.context, files, dtype, lora_of(kind), most_bytes, run_two_steps);
  Planner planner(bench.context->kernels, bench.pool);
  MemoryPlan plan;
  with_parts(planner.context(), shapes, dtype, lora_of(kind), most_bytes,
             [&](const Parts& parts) { plan = plan_two_steps(parts, planner); });
  EXPECT_EQ(by_name(plan.buffers), by_name(planned_buffers(bench.ledger.entries(), true)));
  EXPECT_EQ(plan.peak_bytes(), bench.ledger.peak_bytes());
}

constexpr const char* kKinds[] = {"full", "lora", "dora", "dropout", "pissa", "embedding and head", "saved modules"};
constexpr int64_t kNoLimit = Activations::kNoLimit;

class GoldenPlans : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("models")); }
  std::filesystem::path folder() const { return golden("models") / GetParam(); }
  files::ModelFiles files() const { return value_of(files::open_model(folder())); }
  // Of config.json alone.
  files::ModelFiles shapes() const {
    const files::ModelShapes read = value_of(files::read_model_shapes(folder() / "config.json"));
    files::ModelFiles bare;
    bare.config = read.config;
    bare.weights = weight_shapes(read.config, read.weight_type);
    return bare;
  }
};

TEST_P(GoldenPlans, EveryKindOfTraining) {
  for (const char* kind : kKinds) expect_planned(files(), shapes(), Dtype::kFloat32, kind, kNoLimit);
}

TEST_P(GoldenPlans, EveryDtype) {
  for (const char* dtype : {"bfloat16", "int8", "int4", "int8_bfloat16", "int8_float32", "blocks"})
    for (const char* kind : {"full", "lora", "dora"}) {
      const Dtype of = testing::dtype_of(dtype);
      if (std::string_view(kind) != "full" || !of.quantized()) expect_planned(files(), shapes(), of, kind, kNoLimit);
    }
}

TEST_P(GoldenPlans, LayersComputedOnceMore) {
  for (const char* kind : {"full", "lora", "dora"}) expect_planned(files(), shapes(), Dtype::kFloat32, kind, 0);
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenPlans,
                         ::testing::Values("llama", "llama_tied", "llama_bias", "llama_bf16", "llama_yarn",
                                           "llama3_rope", "qwen2"));

// LayerNorm, learned positions, one matrix for q, k and v in its files.
class Gpt2Plans : public GoldenPlans {};

TEST_P(Gpt2Plans, EveryDtype) {
  for (const char* dtype : {"float32", "bfloat16", "int8", "int4"})
    for (const char* kind : {"full", "lora", "dora", "dropout"}) {
      const Dtype of = testing::dtype_of(dtype);
      if (std::string_view(kind) == "full" && of.quantized()) continue;
      for (const int64_t most_bytes : {kNoLimit, int64_t{0}}) expect_planned(files(), shapes(), of, kind, most_bytes);
    }
}

INSTANTIATE_TEST_SUITE_P(Models, Gpt2Plans, ::testing::Values("gpt2"));

// A GGUF file's own blocks, whose sizes its header has.
TEST(GoldenPlansOfBlocks, EveryDtype) {
  CANDOR_REQUIRE_FILE(golden("gguf"));
  const files::ModelFiles files = value_of(files::open_model(golden("gguf/llama_q8_0.gguf")));
  for (const char* dtype : {"float32", "bfloat16", "blocks", "blocks_bfloat16", "blocks_float32", "int8", "int4"})
    for (const char* kind : {"lora", "dora"}) expect_planned(files, files, testing::dtype_of(dtype), kind, kNoLimit);
}

}  // namespace
}  // namespace candor::engine
