// A training by TRL's RewardTrainer (shared/golden/trajectories/reward_lora) through the whole recipe: run_reward on
// the recorded pairs, held step by step against TRL's losses and metrics, and final/ against TRL's weights, head
// included.
#include <gtest/gtest.h>

#include "engine/testing.h"
#include "recipes/recorded_pairs.h"
#include "recipes/reward.h"
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

const char* const kName = "reward_lora";

struct Training {
  Bench bench;
  files::ModelFiles files = value_of(files::open_model(golden("trajectories/model")));
  engine::Model model = bench.load(files);
  data::PairSet rows = testing::recorded_pairs(golden("trajectories") / kName);
  RewardConfig config;

  explicit Training(const std::filesystem::path& output, const char* level = "") : bench(2, level) {
    testing::take_recorded(json_of(golden("trajectories") / kName / "config.json"), output, config);
  }
  SupervisedResult run(int64_t stop = 1000) {
    std::filesystem::create_directories(config.output_dir);
    int64_t done = 0;
    const RewardParts parts{.context = *bench.context,
                            .model = model,
                            .rows = rows,
                            .held_out = config.eval_steps ? &rows : nullptr,
                            .recipe_yaml = "",
                            .report = [&](const StepReport& report) { done = report.step; },
                            .say = {},
                            .doing = {},
                            .interrupted = [&] { return done >= stop; }};
    SupervisedStart start = value_of(start_reward(config, *bench.context, model, files, rows));
    return value_of(run_reward(config, parts, std::move(start)));
  }
  std::vector<json> metrics() const { return lines_of(std::filesystem::path(config.output_dir) / "metrics.jsonl"); }
};

// The worst of each number over the steps.
std::map<std::string, double> errors_of(Training& training) {
  training.run();
  const auto folder = golden("trajectories") / kName;
  const auto theirs = lines_of(folder / "steps.jsonl"), ours = training.metrics();
  EXPECT_EQ(ours.size(), theirs.size());
  std::map<std::string, double> worst;
  const auto worse = [&](const std::string& name, double a, double b) {
    worst[name] = std::max(worst[name], std::abs(a - b));
  };
  for (size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
    worse("loss", ours[i]["loss"], theirs[i]["loss"]);
    worse("grad_norm", ours[i]["grad_norm"].get<double>() / theirs[i]["grad_norm"].get<double>(), 1);
    for (const char* name : {"accuracy", "margin", "mean_reward"})
      worse(name, ours[i][name], theirs[i]["metrics"][name]);
  }
  worst["weights"] =
      testing::worst_adapter_difference(std::filesystem::path(training.config.output_dir) / "final", folder / "final");
  return worst;
}

class RewardTrajectory : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json")); }
};

TEST_P(RewardTrajectory, EveryStepIsTrls) {
  const ScratchFolder scratch;
  Training training(scratch.path() / "run", GetParam());
  auto errors = errors_of(training);
  const json noise =
      json_of(golden("trajectories/sensitivity.json")).at(kName).at("base_weights_times_1_plus_1e-7_noise");
  expect_within("loss", errors["loss"], 1e-5);  // the README's; noise alone moves TRL by 4e-7
  expect_within("accuracy", errors["accuracy"], 0);
  expect_within("margin", errors["margin"], 1e-4);  // scores of up to 10, in float32, after 20 steps
  expect_within("mean_reward", errors["mean_reward"], 1e-4);
  // A forward in another order of additions is noise in every product, not only in the weights: 8 times as much.
  expect_within("grad_norm", errors["grad_norm"], 8 * noise.at("max_relative_grad_norm_difference").get<double>());
  expect_within("weights", errors["weights"], 8 * noise.at("max_final_weight_difference").get<double>());
}

INSTANTIATE_TEST_SUITE_P(Reward, RewardTrajectory, ::testing::Values("plain", ""),
                         [](const auto& info) { return *info.param == '\0' ? "best" : "plain"; });

TEST(RewardTrajectoryTwins, AreRejected) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  const std::vector<std::pair<const char*, std::function<void(Training&)>>> twins = {
      {"centred", [](Training& t) { t.config.center_rewards_coefficient = 0.01; }},
      {"a margin", [](Training& t) { t.rows.rows[0].margin = 0.1; }},
      {"sides swapped",
       [](Training& t) {
         for (auto& pair : t.rows.rows) std::swap(pair.chosen, pair.rejected);
       }},
      {"the score before the last token", [](Training& t) {
         for (auto& pair : t.rows.rows) pair.chosen.ids.pop_back();
       }}};
  for (const auto& [what, change] : twins) {
    const ScratchFolder scratch;
    Training training(scratch.path() / "run");
    change(training);
    EXPECT_GT(errors_of(training)["loss"], 1e-4) << what;  // ten times the tolerance
  }
}

std::string left_by(const RewardConfig& config) {
  std::string all;
  for (json row : lines_of(std::filesystem::path(config.output_dir) / "metrics.jsonl")) {
    row.erase("step_time");
    all += row.dump() + "\n";
  }
  return all + read_text(std::filesystem::path(config.output_dir) / "final" / "adapter_model.safetensors");
}

std::string run_of(const std::function<void(Training&)>& change, const std::function<void(Training&)>& go) {
  const ScratchFolder scratch;
  Training training(scratch.path() / "run");
  training.config.shuffle_dataset = true;
  training.config.max_steps = 8;
  training.config.eval_strategy = "steps";
  training.config.eval_steps = 2;
  training.config.save_steps = 2;
  training.config.center_rewards_coefficient = 0.01;
  change(training);
  go(training);
  return left_by(training.config);
}

TEST(RewardRun, MicroBatchesAndRecomputationChangeNoBit) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  const auto whole = [](Training& t) { t.run(); };
  const std::string expected = run_of([](Training&) {}, whole);
  EXPECT_EQ(run_of([](Training& t) { t.config.micro_batch_tokens = 1; }, whole), expected);
  EXPECT_EQ(run_of([](Training& t) { t.config.gradient_checkpointing = "true"; }, whole), expected);
  EXPECT_NE(run_of([](Training& t) { t.config.seed = 3; }, whole), expected);  // the order is drawn
}

TEST(RewardRun, AResumeReachesTheSameBytes) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
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

}  // namespace
}  // namespace candor::recipes
