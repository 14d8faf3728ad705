// Trainings by TRL's DPOTrainer (shared/golden/trajectories) through the whole recipe: run_dpo on the recorded pairs,
// held step by step against TRL's losses and metrics, and final/ against TRL's weights. Then what the recipe promises
// of itself: the same bits for every micro-batch and after every resume.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/testing.h"
#include "recipes/dpo.h"
#include "recipes/recorded_pairs.h"
#include "support/golden_model.h"
#include "support/scratch.h"

namespace candor::recipes {
namespace {

using candor::testing::expect_within;
using candor::testing::golden;
using candor::testing::json_of;
using candor::testing::read_text;
using candor::testing::ScratchFolder;
using candor::testing::value_of;
using engine::testing::Bench;
using nlohmann::json;
using testing::lines_of;
using testing::recorded_pairs;

DpoConfig recorded_config(const json& recorded, const std::filesystem::path& output) {
  DpoConfig config;
  testing::take_recorded(recorded, output, config);
  config.loss_type = recorded.at("loss_type").get<std::vector<std::string>>();
  config.beta = recorded.at("beta");
  return config;
}

struct Training {
  Bench bench;
  files::ModelFiles files = value_of(files::open_model(golden("trajectories/model")));
  engine::Model model = bench.load(files);
  data::PairSet rows;
  DpoConfig config;
  std::optional<ReferenceLogprobs> reference;

  Training(const std::string& name, const std::filesystem::path& output, const char* level = "")
      : bench(2, level),
        rows(recorded_pairs(golden("trajectories/" + name))),
        config(recorded_config(json_of(golden("trajectories/" + name) / "config.json"), output)) {}

  SupervisedResult run(int64_t stop = 1000) {
    std::filesystem::create_directories(config.output_dir);
    if (config.precomputes_reference() && !reference)
      reference = reference_logprobs(*bench.context, model, nullptr, rows, [](size_t, size_t) { return true; });
    int64_t done = 0;
    PairParts parts{.context = *bench.context,
                    .model = model,
                    .rows = rows,
                    .held_out = config.eval_steps ? &rows : nullptr,
                    .reference = nullptr,
                    .reference_of_rows = reference ? &*reference : nullptr,
                    .reference_of_held_out = reference ? &*reference : nullptr,
                    .recipe_yaml = "",
                    .report = [&](const StepReport& report) { done = report.step; },
                    .say = {},
                    .doing = {},
                    .interrupted = [&] { return done >= stop; }};
    SupervisedStart start = value_of(start_dpo(config, *bench.context, model, files, rows));
    return value_of(run_dpo(config, parts, std::move(start)));
  }
  std::vector<json> metrics() const { return lines_of(std::filesystem::path(config.output_dir) / "metrics.jsonl"); }
};

double worst_loss_difference(const std::string& name, Training& training) {
  training.run();
  const auto theirs = lines_of(golden("trajectories/" + name) / "steps.jsonl"), ours = training.metrics();
  EXPECT_EQ(ours.size(), theirs.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i)
    worst = std::max(worst, std::abs(ours[i].at("loss").get<double>() - theirs[i].at("loss").get<double>()));
  return worst;
}

class DpoTrajectory : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json")); }
};

TEST_P(DpoTrajectory, EveryStepIsTrls) {
  const std::string name = std::get<0>(GetParam());
  const ScratchFolder scratch;
  Training training(name, scratch.path() / "run", std::get<1>(GetParam()));
  const auto folder = golden("trajectories/" + name);
  const json noise =
      json_of(golden("trajectories/sensitivity.json")).at(name).at("base_weights_times_1_plus_1e-7_noise");
  expect_within("loss", worst_loss_difference(name, training), 1e-5);  // the README's; noise alone moves TRL by 4e-6
  const auto theirs = lines_of(folder / "steps.jsonl"), ours = training.metrics();
  double norms = 0, metrics = 0;
  for (size_t i = 0; i < theirs.size(); ++i) {
    norms = std::max(norms, std::abs(ours[i]["grad_norm"].get<double>() / theirs[i]["grad_norm"].get<double>() - 1));
    for (const char* key : {"rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies",
                            "logps/chosen", "logps/rejected", "learning_rate"})
      if (const json* want = theirs[i].contains(key)              ? &theirs[i][key]
                             : theirs[i]["metrics"].contains(key) ? &theirs[i]["metrics"][key]
                                                                  : nullptr)
        metrics = std::max(metrics, std::abs(ours[i].at(key).get<double>() - want->get<double>()));
  }
  // A forward in another order of additions is noise in every product, not only in the weights: 8 times as much.
  expect_within("grad_norm", norms, 8 * noise.at("max_relative_grad_norm_difference").get<double>());
  expect_within("metrics", metrics, 1e-4);  // sums over a row's tokens, in TRL rounded to float32 at up to 60
  expect_within(
      "final weights",
      testing::worst_adapter_difference(std::filesystem::path(training.config.output_dir) / "final", folder / "final"),
      8 * noise.at("max_final_weight_difference").get<double>());
}

INSTANTIATE_TEST_SUITE_P(Dpo, DpoTrajectory,
                         ::testing::Combine(::testing::Values("dpo_lora", "dpo_ipo_lora"),
                                            ::testing::Values("plain", "")),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) +
                                  (*std::get<1>(info.param) == '\0' ? "_best" : "_plain");
                         });

TEST(DpoTrajectoryTwins, AreRejected) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  const std::vector<std::tuple<const char*, const char*, std::function<void(Training&)>>> twins = {
      {"another loss", "dpo_lora", [](Training& t) { t.config.loss_type = {"hinge"}; }},
      {"beta", "dpo_lora", [](Training& t) { t.config.beta = 0.11; }},
      {"chosen and rejected swapped", "dpo_lora",
       [](Training& t) {
         for (auto& pair : t.rows.rows) std::swap(pair.chosen, pair.rejected);
       }},
      {"the prompt counts too", "dpo_ipo_lora", [](Training& t) {
         for (auto& pair : t.rows.rows) pair.chosen.prompt_tokens = pair.rejected.prompt_tokens = 1;
       }}};
  for (const auto& [what, name, change] : twins) {
    const ScratchFolder scratch;
    Training training(name, scratch.path() / "run");
    change(training);
    EXPECT_GT(worst_loss_difference(name, training), 1e-4) << what;  // ten times the tolerance
  }
}

// What a run leaves that must not depend on how it was computed: every row without its times, and final/.
std::string left_by(const DpoConfig& config) {
  std::string all;
  for (json row : lines_of(std::filesystem::path(config.output_dir) / "metrics.jsonl")) {
    row.erase("step_time");
    all += row.dump() + "\n";
  }
  return all + read_text(std::filesystem::path(config.output_dir) / "final" / "adapter_model.safetensors");
}

class DpoRun : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json")); }
  static std::string run_of(const std::function<void(Training&)>& change, const std::function<void(Training&)>& go) {
    const ScratchFolder scratch;
    Training training("dpo_lora", scratch.path() / "run");
    DpoConfig& config = training.config;
    config.loss_type = {GetParam(), "sft"};
    config.loss_weights = {1.0, 0.2};
    config.shuffle_dataset = true;
    config.max_steps = 8;
    config.eval_strategy = "steps";
    config.eval_steps = 2;
    config.save_steps = 2;
    change(training);
    go(training);
    return left_by(config);
  }
};

TEST_P(DpoRun, MicroBatchesRecomputationAndThePrecomputedReferenceChangeNoBit) {
  const auto whole = [](Training& t) { t.run(); };
  const std::string expected = run_of([](Training&) {}, whole);
  EXPECT_EQ(run_of([](Training& t) { t.config.micro_batch_tokens = 1; }, whole), expected);
  EXPECT_EQ(run_of([](Training& t) { t.config.micro_batch_tokens = 37; }, whole), expected);
  EXPECT_EQ(run_of([](Training& t) { t.config.gradient_checkpointing = "true"; }, whole), expected);
  EXPECT_EQ(run_of([](Training& t) { t.config.precompute_ref_log_probs = "true"; }, whole), expected);
  EXPECT_NE(run_of([](Training& t) { t.config.seed = 3; }, whole), expected);  // the order is drawn
}

TEST_P(DpoRun, AResumeReachesTheSameBytes) {
  const std::string expected = run_of([](Training&) {}, [](Training& t) { t.run(); });
  for (const int64_t stop : {1, 5}) {
    const std::string resumed = run_of([](Training&) {},
                                       [&](Training& t) {
                                         EXPECT_TRUE(t.run(stop).interrupted);
                                         t.config.resume_from_checkpoint = "true";
                                         EXPECT_EQ(t.run().steps, 8);
                                       });
    EXPECT_EQ(resumed, expected) << "stopped after step " << stop;
  }
}

INSTANTIATE_TEST_SUITE_P(Dpo, DpoRun, ::testing::Values("sigmoid", "ipo", "aot"));

}  // namespace
}  // namespace candor::recipes
