// Plans of the recipes on preferences against the ledgers of their runs.
#include "recipes/memory_plan_preference.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "engine/testing.h"
#include "recipes/cpo.h"
#include "recipes/dpo.h"
#include "recipes/kto.h"
#include "recipes/memory_fit.h"
#include "recipes/plan_testing.h"
#include "recipes/preference_gold.h"
#include "recipes/prm.h"
#include "recipes/reward.h"
#include "recipes/rollout_testing.h"
#include "support/golden_model.h"
#include "support/scratch.h"

namespace candor::recipes {
namespace {

using candor::testing::ScratchFolder;
using candor::testing::value_of;
using engine::testing::Bench;
using testing::expect_ledger;

data::Answer answer_of(int64_t prompt, int64_t completion, uint32_t of_prompt, uint32_t of_completion) {
  data::Answer answer{engine::testing::random_ids(prompt, 1100, of_prompt), prompt};
  for (const int32_t id : engine::testing::random_ids(completion, 1100, of_completion)) answer.ids.push_back(id);
  return answer;
}

struct Lengths {
  int64_t prompt, chosen, rejected;
  bool shared = true;  // both sides have one prompt
};

data::PairSet pairs_of(const std::vector<Lengths>& all) {
  data::PairSet set;
  for (uint32_t i = 0; i < all.size(); ++i) {
    const Lengths& of = all[i];
    set.rows.push_back({answer_of(of.prompt, of.chosen, 3 * i, 3 * i + 1),
                        answer_of(of.prompt, of.rejected, of.shared ? 3 * i : 1000 + i, 3 * i + 2), i + 1, 0.0});
  }
  return set;
}

data::LabelledSet labelled_of(const data::PairSet& pairs) {
  data::LabelledSet set;
  for (const data::PreferencePair& pair : pairs.rows) {
    set.rows.push_back({pair.chosen, true, pair.row});
    set.rows.push_back({pair.rejected, false, pair.row});
  }
  return set;
}

const std::vector<Lengths> kTrain = {{12, 20, 31}, {5, 60, 3}, {33, 9, 9, false},
                                     {1, 40, 44},  {20, 1, 2}, {17, 70, 66}};
const std::vector<Lengths> kHeldOut = {{25, 90, 30}, {2, 3, 4, false}, {40, 20, 60}};

void set_keys(PreferenceConfig& config, const std::filesystem::path& output, const engine::Dtype& dtype) {
  config.use_peft = true;
  config.lora_r = 3;
  config.max_steps = 3;
  config.per_device_train_batch_size = 2;
  config.gradient_accumulation_steps = 2;
  config.gradient_shards = 2;
  config.micro_batch_tokens = 100;
  config.max_length.reset();
  config.save_strategy = "no";
  config.eval_strategy = "steps";
  config.eval_steps = 3;
  config.dtype = engine::dtype_name(dtype);
  config.output_dir = output.string();
}

// One run, and its plan.
struct Planned {
  ScratchFolder scratch;
  Bench bench;
  files::ModelFiles files = engine::testing::random_model_files(engine::testing::tiny_config(), 3);
  data::PairSet train = pairs_of(kTrain), held_out = pairs_of(kHeldOut);
  PlanBase base{bench.context->kernels, bench.pool, files, {}};

  explicit Planned(const engine::Dtype& dtype) : bench(2, "", dtype) {}
  SupervisedParts parts(const engine::Model& model) const { return {.context = *bench.context, .model = model}; }

  // A model without a tokenizer cannot be written; the training before it is what counts.
  static void expect_ran(const PreferenceConfig& config, const Result<SupervisedResult>& result) {
    EXPECT_TRUE(!config.use_peft || result) << result.error().message;
  }

  void on_pairs(const PreferenceConfig& config, const PairLoss& loss, bool precomputes) {
    {
      const auto any = [](size_t, size_t) { return true; };
      engine::Model model = bench.load(files);
      const engine::Context& context = *bench.context;
      std::optional<ReferenceLogprobs> computed;
      if (precomputes) computed = reference_logprobs(context, model, nullptr, train, any);
      const auto before = value_of(evaluate_pairs(config, context, model, nullptr, held_out, loss, nullptr, any));
      std::optional<GoldScores> gold;
      const std::vector<GoldRow> rows(held_out.rows.size(), GoldRow{{{"prompt", ""}}, "", ""});
      if (config.has_gold()) gold = value_of(score_held_out(config, context, model, files, held_out, rows));
      SupervisedStart start =
          value_of(start_supervised(config, context, model, files, static_cast<int64_t>(train.rows.size()), ""));
      const PairParts all{
          parts(model),           train, &held_out, nullptr, computed ? &*computed : nullptr, &before->logprobs,
          gold ? &*gold : nullptr};
      expect_ran(config, run_on_pairs("dpo", config, all, loss, std::move(start)));
    }
    expect_ledger(value_of(plan_pairs(config, loss, precomputes, base,
                                      preference_workload(train, &held_out, loss.prompt_counts))),
                  bench.ledger);
  }
};

class PreferencePlans : public ::testing::TestWithParam<const char*> {
 protected:
  engine::Dtype dtype() const { return engine::testing::dtype_of(GetParam()); }
};

TEST_P(PreferencePlans, OfDpo) {
  for (const auto& [type, precomputes] :
       {std::pair("sigmoid", false), std::pair("sigmoid", true), std::pair("aot", false)}) {
    Planned planned(dtype());
    DpoConfig config;
    set_keys(config, planned.scratch.path(), dtype());
    config.loss_type = {type};
    planned.on_pairs(config, pair_loss(config), precomputes);
  }
}

// Two reward models on the base, which score the held-out pairs before the training, and looks in it.
TEST_P(PreferencePlans, OfAHeldOutReward) {
  for (const bool evaluates : {true, false}) {
    Planned planned(dtype());
    DpoConfig config;
    set_keys(config, planned.scratch.path(), dtype());
    if (!evaluates) config.eval_strategy = "no";
    config.gold_reward_funcs = {kRewardModel};
    Bench other;
    const engine::Model model = other.load(planned.files);
    for (uint64_t seed : {1, 2})
      config.gold_reward_model_path.push_back(testing::write_reward_model(
          other, model, planned.scratch / fmt::format("gold {}", seed), seed, static_cast<int64_t>(seed)));
    planned.on_pairs(config, pair_loss(config), false);
  }
}

TEST_P(PreferencePlans, OfDora) {
  Planned planned(dtype());
  DpoConfig config;
  set_keys(config, planned.scratch.path(), dtype());
  config.use_dora = true;
  config.gradient_checkpointing = "true";
  planned.on_pairs(config, pair_loss(config), false);
}

TEST_P(PreferencePlans, OfDpoOfEveryWeight) {
  if (dtype().quantized()) GTEST_SKIP() << "whole weights train in float32 and bfloat16";
  Planned planned(dtype());
  DpoConfig config;
  set_keys(config, planned.scratch.path(), dtype());
  config.use_peft = false;
  config.gradient_shards = 1;
  planned.on_pairs(config, pair_loss(config), true);
}

TEST_P(PreferencePlans, OfSimpoAndOrpo) {
  Planned planned(dtype()), other(dtype());
  CpoConfig simpo;
  set_keys(simpo, planned.scratch.path(), dtype());
  simpo.loss_type = "simpo";
  planned.on_pairs(simpo, pair_loss(simpo), false);
  OrpoConfig orpo;
  set_keys(orpo, other.scratch.path(), dtype());
  other.on_pairs(orpo, pair_loss(orpo), false);
}

TEST_P(PreferencePlans, OfKtoAndBco) {
  for (const char* type : {"kto", "bco", "apo_zero_unpaired"}) {
    Planned planned(dtype());
    KtoConfig config;
    set_keys(config, planned.scratch.path(), dtype());
    config.loss_type = type;
    config.per_device_train_batch_size = 4;
    const data::LabelledSet train = labelled_of(planned.train), held_out = labelled_of(planned.held_out);
    {
      engine::Model model = planned.bench.load(planned.files);
      SupervisedStart start = value_of(start_kto(config, *planned.bench.context, model, planned.files, train));
      Planned::expect_ran(config, run_kto(config, {planned.parts(model), train, &held_out}, std::move(start)));
    }
    expect_ledger(value_of(plan_kto(config, planned.base, preference_workload(train, &held_out))),
                  planned.bench.ledger);
  }
}

TEST_P(PreferencePlans, OfRewardModels) {
  for (const bool adapter : {true, false}) {
    if (!adapter && dtype().quantized()) continue;  // whole weights train in float32 and bfloat16
    Planned planned(dtype());
    RewardConfig config;
    set_keys(config, planned.scratch.path(), dtype());
    config.use_peft = adapter;
    if (!adapter) config.gradient_shards = 1;
    {
      engine::Model model = planned.bench.load(planned.files);
      SupervisedStart start =
          value_of(start_reward(config, *planned.bench.context, model, planned.files, planned.train));
      Planned::expect_ran(
          config, run_reward(config, {planned.parts(model), planned.train, &planned.held_out}, std::move(start)));
    }
    expect_ledger(value_of(plan_reward(config, planned.base, preference_workload(planned.train, &planned.held_out))),
                  planned.bench.ledger);
  }
}

TEST_P(PreferencePlans, OfProcessRewardModels) {
  Planned planned(dtype());
  PrmConfig config;
  set_keys(config, planned.scratch.path(), dtype());
  const auto steps_of = [](const data::PairSet& pairs) {
    data::StepwiseSet set;
    for (const data::PreferencePair& pair : pairs.rows) {
      const auto last = static_cast<int64_t>(pair.chosen.ids.size()) - 1;
      set.rows.push_back({pair.chosen.ids, {(last + 1) / 2, last - last / 4}, {1, 0}, pair.row});
    }
    return set;
  };
  const data::StepwiseSet train = steps_of(planned.train), held_out = steps_of(planned.held_out);
  {
    engine::Model model = planned.bench.load(planned.files);
    SupervisedStart start = value_of(start_prm(config, *planned.bench.context, model, planned.files, train));
    Planned::expect_ran(config, run_prm(config, {planned.parts(model), train, &held_out}, std::move(start)));
  }
  expect_ledger(value_of(plan_prm(config, planned.base, preference_workload(train, &held_out))), planned.bench.ledger);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, PreferencePlans, ::testing::Values("float32", "bfloat16", "int8"));

TEST(PreferencePlan, WithoutRowsEveryRowIsAsLongAsItMayBe) {
  DpoConfig config;
  config.max_length = 64;
  config.per_device_train_batch_size = 3;
  const PreferenceWorkload workload = preference_workload(config, 4096, 2);
  ASSERT_EQ(workload.train.size(), 3u);
  EXPECT_EQ(workload.train[0][0].prompt, 1);
  EXPECT_EQ(workload.train[0][0].completions, (std::vector<int64_t>{63, 63}));
  EXPECT_TRUE(workload.held_out.empty());
}

// A shorter max_length is a smaller plan, and what does not fit is advised against.
TEST(PreferencePlan, AdviceIsTrue) {
  Planned planned(engine::Dtype::kFloat32);
  DpoConfig config;
  set_keys(config, planned.scratch.path(), engine::Dtype::kFloat32);
  config.micro_batch_tokens = 256;
  config.gradient_checkpointing = "false";
  const PreferenceWorkload workload = preference_workload(planned.train, &planned.held_out);
  const PairLoss loss = pair_loss(config);
  const PlanOf<PreferenceConfig> plan_of = [&](const PreferenceConfig& c) {
    return plan_pairs(c, loss, false, planned.base, workload);
  };
  const int64_t limit = value_of(plan_of(config)).peak_bytes() - 1;
  const std::vector<Change> changes = cheapest_changes<PreferenceConfig>(config, plan_of, limit);
  ASSERT_FALSE(changes.empty());
  EXPECT_EQ(changes[0].flags, "--micro_batch_tokens 128");
  for (const Change& change : changes) EXPECT_LE(change.peak_bytes, limit) << change.flags;
}

}  // namespace
}  // namespace candor::recipes
