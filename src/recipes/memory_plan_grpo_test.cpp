// The plan of a GRPO run against the ledger of the run itself: prompts of one length, completions that no stop token
// ends, so that every batch is the worst.
#include <gtest/gtest.h>

#include "engine/testing.h"
#include "recipes/grpo.h"
#include "recipes/memory_fit.h"
#include "recipes/memory_plan.h"
#include "recipes/plan_testing.h"
#include "support/golden_model.h"
#include "support/scratch.h"
#include "support/source_dir.h"

namespace candor::recipes {
namespace {

using candor::testing::ScratchFolder;
using candor::testing::value_of;
using engine::testing::Bench;

constexpr int64_t kPrompt = 21;

text::Tokenizer tokenizer() {
  const auto path = candor::testing::source_dir() / "tests/golden/tokenizer/tokenizer.json";
  return value_of(text::Tokenizer::from_tokenizer_json(candor::testing::read_text(path), "tiny"));
}

files::ModelFiles model_files() {
  files::ModelConfig config = engine::testing::tiny_config();
  config.vocab_size = 282;  // the tokenizer's
  config.eos_ids.clear();
  return engine::testing::random_model_files(config, 3);
}

data::PromptSet prompts() {
  data::PromptSet set{"prompts", {}};
  for (uint32_t i = 0; i < 6; ++i)
    set.prompts.push_back({engine::testing::random_ids(kPrompt, 282, i), "", {{{"prompt", ""}}, i + 1, i + 1}});
  return set;
}

// Spread in every group, so that no group's training pass is skipped.
rewards::Reward spread() {
  return {"spread",
          [](std::span<const rewards::Completion> completions) {
            rewards::Scores scores;
            for (size_t i = 0; i < completions.size(); ++i) scores.emplace_back(static_cast<double>(i % 2));
            return Result<rewards::Scores>(scores);
          },
          {}};
}

GrpoConfig grpo_config() {
  GrpoConfig config;
  config.use_peft = true;
  config.lora_r = 3;
  config.max_steps = 3;
  config.per_device_train_batch_size = 8;
  config.num_generations = 4;
  config.gradient_shards = 2;
  config.max_completion_length = 19;
  config.micro_batch_tokens = 40;  // fewer than two prompts: each group passes by itself
  config.reward_funcs = {"spread"};
  config.save_strategy = "no";
  return config;
}

class GrpoPlans : public ::testing::TestWithParam<std::tuple<const char*, const char*, double>> {};

TEST_P(GrpoPlans, AreTheLedgerOfTheRun) {
  const auto [kind, dtype, beta] = GetParam();
  const ScratchFolder scratch;
  Bench bench(2, "", engine::testing::dtype_of(dtype));
  const files::ModelFiles files = model_files();
  GrpoConfig config = grpo_config();
  config.use_dora = std::string_view(kind) == "dora";
  config.gradient_checkpointing = std::string_view(kind) == "recomputed" ? "true" : "auto";
  config.beta = beta;
  config.dtype = dtype;
  config.output_dir = scratch.path().string();
  {
    const engine::Model model = bench.load(files);
    const text::Tokenizer text = tokenizer();
    GrpoStart start = value_of(start_grpo(config, *bench.context, model, prompts()));
    GrpoParts parts{.context = *bench.context,
                    .model = model,
                    .tokenizer = text,
                    .prompts = prompts(),
                    .rewards = {spread()},
                    .recipe_yaml = "",
                    .evaluate = {},
                    .report = {},
                    .doing = {},
                    .interrupted = {}};
    value_of(run_grpo(config, std::move(parts), std::move(start)));
  }
  const PlanBase base{bench.context->kernels, bench.pool, files, {}};
  testing::expect_ledger(value_of(plan_grpo(config, base, {kPrompt, {}, {}})), bench.ledger);
}

INSTANTIATE_TEST_SUITE_P(Kinds, GrpoPlans,
                         ::testing::Combine(::testing::Values("lora", "dora", "recomputed"),
                                            ::testing::Values("float32", "bfloat16", "int8", "int4", "blocks"),
                                            ::testing::Values(0.0, 0.1)));

// Where a group itself is what does not fit, smaller groups come before shorter completions.
TEST(GrpoFit, SmallerGroups) {
  Bench bench;
  const files::ModelFiles files = model_files();
  GrpoConfig config = grpo_config();
  config.micro_batch_tokens = 16;
  config.gradient_checkpointing = "true";
  config.generation_rows = 1;
  config.gradient_shards = 1;
  config.lora_r = 1;
  config.dtype = "int4";
  config.per_device_train_batch_size = 64;
  config.num_generations = 64;
  config.max_completion_length = 128;
  const PlanOf<GrpoConfig> plan_of = [&](const GrpoConfig& c) {
    return plan_grpo(c, {bench.context->kernels, bench.pool, files, {}}, {kPrompt, {}, {}});
  };
  const int64_t limit = value_of(plan_of(config)).peak_bytes() - 1;
  const std::vector<Change> changes = cheapest_changes(config, plan_of, limit);
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].flags, "--num_generations 32");
  EXPECT_EQ(changes[1].flags, "--max_completion_length 64");
}

}  // namespace
}  // namespace candor::recipes
