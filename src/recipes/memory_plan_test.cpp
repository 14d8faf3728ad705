// Plans of whole recipes: against the ledger of the run itself, and what makes a recipe fit.
#include "recipes/memory_plan.h"

#include <gtest/gtest.h>

#include "engine/model_weights.h"
#include "engine/testing.h"
#include "recipes/memory_fit.h"
#include "recipes/plan_testing.h"
#include "recipes/sft.h"
#include "support/scratch.h"

namespace candor::recipes {
namespace {

using candor::testing::ScratchFolder;
using engine::BatchShape;
using engine::testing::Bench;
using testing::expect_ledger;

// Rows of these lengths, of which the second half counts.
data::SftSet rows_of(const std::vector<int64_t>& lengths) {
  data::SftSet set;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const auto ids = engine::testing::random_ids(lengths[i], 1100, static_cast<uint32_t>(i));
    std::vector<uint8_t> mask(ids.size(), 0);
    std::fill(mask.begin() + lengths[i] / 2, mask.end(), 1);
    set.account.counted_tokens += lengths[i] - lengths[i] / 2;
    set.rows.push_back({{{ids, mask}}, {static_cast<int64_t>(i) + 1}});
  }
  return set;
}

SftConfig sft_config(bool adapter) {
  SftConfig config;
  config.use_peft = adapter;
  config.lora_r = 3;
  config.max_steps = 6;
  config.per_device_train_batch_size = 3;
  config.gradient_shards = adapter ? 2 : 1;
  config.micro_batch_tokens = 100;
  config.max_length.reset();
  config.save_strategy = "no";
  return config;
}

class SftPlans : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(SftPlans, AreTheLedgerOfTheRun) {
  const std::string kind = std::get<0>(GetParam());
  const bool adapter = kind != "full";
  const engine::Dtype dtype = engine::testing::dtype_of(std::get<1>(GetParam()));
  if (!adapter && dtype.quantized()) GTEST_SKIP() << "whole weights train in float32 and bfloat16";
  const ScratchFolder scratch;
  Bench bench(2, "", dtype);
  const files::ModelFiles files = engine::testing::random_model_files(engine::testing::tiny_config(), 3);
  const data::SftSet rows = rows_of({30, 55, 12, 90, 41, 7, 64}), held_out = rows_of({20, 200, 35});
  SftConfig config = sft_config(adapter);
  config.dtype = engine::dtype_name(dtype);
  config.output_dir = scratch.path().string();
  config.use_dora = kind == "dora";
  config.label_smoothing_factor = kind == "smoothed" ? 0.1 : 0.0;
  config.gradient_checkpointing = kind == "recomputed" ? "true" : "auto";
  config.eval_strategy = "steps";
  config.eval_steps = 3;
  {
    engine::Model model = bench.load(files);
    SftStart start = std::move(start_sft(config, *bench.context, model, files, rows)).value();
    const SftParts parts{{.context = *bench.context, .model = model}, rows, &held_out};
    const auto result = run_sft(config, parts, std::move(start));
    // A model without a tokenizer cannot be written; the training before it is what counts.
    EXPECT_TRUE(!adapter || result) << result.error().message;
  }
  const PlanBase base{bench.context->kernels, bench.pool, files, {}};
  const engine::MemoryPlan plan = std::move(plan_sft(config, base, sft_workload(rows, &held_out))).value();
  expect_ledger(plan, bench.ledger);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SftPlans,
                         ::testing::Combine(::testing::Values("full", "lora", "dora", "recomputed", "smoothed"),
                                            ::testing::Values("float32", "bfloat16", "int8", "int4", "blocks")));

TEST(MemoryPlan, TheWorstBatchIsOneThatTheRunMakes) {
  SftConfig config = sft_config(true);
  config.shuffle_dataset = false;
  config.gradient_shards = 1;
  config.max_steps = 2;
  const SftWorkload workload = sft_workload(rows_of({61, 41, 11, 31, 91, 21}), nullptr);
  // Passes of at most 100 tokens, a row's last token no input: 60 and 40; 10; 30; 90; 20.
  const BatchShape worst = sft_batches(config, workload).back();
  EXPECT_EQ(worst.tokens, 100);
  EXPECT_EQ(worst.entries, 31 + 21);
  config.micro_batch_tokens = 1;
  EXPECT_EQ(sft_batches(config, workload).back().tokens, 90);
  config.max_length = 20;
  EXPECT_EQ(sft_batches(config, workload).back().tokens, 19);
}

TEST(MemoryPlan, NoRowsAtHand) {
  SftConfig config = sft_config(true);
  config.max_length = 64;
  EXPECT_EQ(sft_batches(config, sft_workload(config, 4096)).back().tokens, 63);
  config.max_length.reset();
  EXPECT_EQ(sft_batches(config, sft_workload(config, 4096)).back().tokens, 4095);
}

// Every way in which completions of a step can be long or short, tried.
TEST(MemoryPlan, NoBatchOfCompletionsIsWorse) {
  GrpoConfig config;
  config.per_device_train_batch_size = 6;
  config.num_generations = 2;
  config.max_completion_length = 4;
  for (const int64_t prompt : {3, 15, 16, 17})
    for (const int64_t budget : {1, 20, 37, 45, 100})
      for (const int64_t shards : {1, 3}) {
        config.micro_batch_tokens = budget;
        const BatchShape bound = worst_grpo_batch(config, prompt, shards);
        const auto groups = static_cast<size_t>(3 / shards);
        for (int64_t lengths = 0; lengths < 4096; ++lengths) {  // six completions of 1 to 4 tokens
          BatchShape batch;
          for (size_t g = 0; g < groups; ++g) {
            BatchShape group;
            const int64_t two[] = {1 + (lengths >> (4 * g) & 3), 1 + (lengths >> (4 * g + 2) & 3)};
            group.add(prompt, two);
            if (batch.tokens > 0 && batch.tokens + group.tokens > budget) batch = {};
            batch += group;
            ASSERT_LE(batch.tokens, bound.tokens) << prompt << " " << budget << " " << lengths;
            ASSERT_LE(batch.pages, bound.pages) << prompt << " " << budget << " " << lengths;
            ASSERT_LE(batch.entries, bound.entries) << prompt << " " << budget << " " << lengths;
          }
        }
      }
}

struct Fit : ::testing::Test {
  Bench bench;
  files::ModelFiles files = engine::testing::random_model_files(engine::testing::tiny_config(), 3);
  SftConfig config = sft_config(false);
  SftWorkload workload = sft_workload(rows_of({200, 200, 200}), nullptr);
  PlanOf<SftConfig> plan_of = [this](const SftConfig& c) {
    return plan_sft(c, {bench.context->kernels, bench.pool, files, {}}, workload);
  };
  int64_t peak(const SftConfig& c) { return std::move(plan_of(c)).value().peak_bytes(); }
};

TEST_F(Fit, TheLargestMicroBatchThatFits) {
  config.per_device_train_batch_size = 3;
  config.micro_batch_tokens = 0;
  config.max_length = 100;
  EXPECT_EQ(std::move(fit_into(config, plan_of, INT64_MAX)).value().config.micro_batch_tokens, 256);
  SftConfig smaller = config;
  smaller.micro_batch_tokens = 128;
  ASSERT_LT(peak(smaller), peak(config));
  EXPECT_EQ(std::move(fit_into(config, plan_of, peak(smaller))).value().config.micro_batch_tokens, 128);
  // Where nothing fits it is the choice that takes least; what the user gave stays.
  const auto least = std::move(fit_into(config, plan_of, 1)).value();
  EXPECT_EQ(least.config.micro_batch_tokens, 16);
  EXPECT_EQ(least.config.gradient_checkpointing, "true");
  config.micro_batch_tokens = 300;
  EXPECT_EQ(std::move(fit_into(config, plan_of, 1)).value().config.micro_batch_tokens, 300);
}

TEST_F(Fit, LayersAreComputedOnceMoreWhereNoMicroBatchIsSmallEnough) {
  config.micro_batch_tokens = 0;
  config.max_length = 100;
  SftConfig recomputed = config;
  recomputed.gradient_checkpointing = "true";
  recomputed.micro_batch_tokens = 256;
  ASSERT_LT(peak(recomputed), peak(config));
  SftConfig smallest = config;
  smallest.micro_batch_tokens = 16;
  const int64_t limit = peak(smallest) - 1;
  const auto fitted = std::move(fit_into(config, plan_of, limit)).value();
  EXPECT_EQ(fitted.config.gradient_checkpointing, "true");
  EXPECT_LE(fitted.plan.peak_bytes(), limit);
  config.gradient_checkpointing = "false";  // what the user gave stays
  EXPECT_EQ(std::move(fit_into(config, plan_of, limit)).value().config.gradient_checkpointing, "false");
  EXPECT_EQ(cheapest_changes(config, plan_of, limit).front().flags, "--gradient_checkpointing true");
}

TEST_F(Fit, AdviceIsInTheOrderOfItsCostAndTrue) {
  config.micro_batch_tokens = 512;
  config.gradient_checkpointing = "false";
  config.max_length = 200;
  const int64_t limit = peak(config) - 1;
  const std::vector<Change> changes = cheapest_changes(config, plan_of, limit);
  ASSERT_EQ(changes.size(), 3u);
  EXPECT_EQ(changes[0].flags, "--micro_batch_tokens 256");
  EXPECT_EQ(changes[1].flags, "--gradient_checkpointing true");
  EXPECT_EQ(changes[2].flags, "--max_length 100");  // bfloat16 beside float32 master weights takes more
  SftConfig changed = config;
  changed.max_length = 100;
  EXPECT_EQ(changes[2].peak_bytes, peak(changed));
  for (const Change& change : changes) EXPECT_LE(change.peak_bytes, limit) << change.flags;
}

TEST_F(Fit, SeveralKeysTogetherOrNothing) {
  config.max_length = 200;
  SftConfig least = config;
  least.micro_batch_tokens = 16, least.use_peft = true, least.lora_r = 1, least.max_length = 64;
  const std::vector<Change> changes = cheapest_changes(config, plan_of, peak(least) + 1000);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_NE(changes[0].flags.find("--max_length"), std::string::npos) << changes[0].flags;
  EXPECT_NE(changes[0].flags.find("--use_peft true"), std::string::npos) << changes[0].flags;
  EXPECT_TRUE(cheapest_changes(config, plan_of, 1000).empty());
}

}  // namespace
}  // namespace candor::recipes
