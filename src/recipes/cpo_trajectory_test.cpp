// A training by TRL's ORPOTrainer (shared/golden/trajectories/orpo_lora) through the whole recipe: run_orpo on the
// recorded pairs, held step by step against TRL's losses and metrics, and final/ against TRL's weights. And what CPO
// and ORPO promise of themselves: the same bits for every micro-batch and after every resume.
#include <gtest/gtest.h>

#include "engine/testing.h"
#include "recipes/cpo.h"
#include "recipes/recorded_pairs.h"
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

template <typename Config>
struct Training {
  Bench bench;
  files::ModelFiles files = value_of(files::open_model(golden("trajectories/model")));
  engine::Model model = bench.load(files);
  data::PairSet rows = testing::recorded_pairs(golden("trajectories/orpo_lora"));
  Config config;

  explicit Training(const std::filesystem::path& output, const char* level = "") : bench(2, level) {
    testing::take_recorded(json_of(golden("trajectories/orpo_lora/config.json")), output, config);
  }
  SupervisedResult run(int64_t stop = 1000) {
    std::filesystem::create_directories(config.output_dir);
    int64_t done = 0;
    const PairParts parts{.context = *bench.context,
                          .model = model,
                          .rows = rows,
                          .held_out = config.eval_steps ? &rows : nullptr,
                          .reference = nullptr,
                          .reference_of_rows = nullptr,
                          .reference_of_held_out = nullptr,
                          .recipe_yaml = "",
                          .report = [&](const StepReport& report) { done = report.step; },
                          .say = {},
                          .doing = {},
                          .interrupted = [&] { return done >= stop; }};
    SupervisedStart start = value_of(start_cpo(config, *bench.context, model, files, rows));
    if constexpr (std::is_same_v<Config, OrpoConfig>)
      return value_of(run_orpo(config, parts, std::move(start)));
    else
      return value_of(run_cpo(config, parts, std::move(start)));
  }
  std::vector<json> metrics() const { return lines_of(std::filesystem::path(config.output_dir) / "metrics.jsonl"); }
};

std::map<std::string, double> errors_of(Training<OrpoConfig>& training) {
  training.run();
  const auto folder = golden("trajectories/orpo_lora");
  const auto theirs = lines_of(folder / "steps.jsonl"), ours = training.metrics();
  EXPECT_EQ(ours.size(), theirs.size());
  std::map<std::string, double> worst;
  const auto worse = [&](const std::string& name, double a, double b) {
    worst[name] = std::max(worst[name], std::abs(a - b));
  };
  for (size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
    worse("loss", ours[i]["loss"], theirs[i]["loss"]);
    worse("grad_norm", ours[i]["grad_norm"].get<double>() / theirs[i]["grad_norm"].get<double>(), 1);
    for (const char* name : {"nll_loss", "log_odds_ratio", "log_odds_chosen", "rewards/margins", "logps/chosen"})
      worse(name, ours[i][name], theirs[i]["metrics"][name]);
  }
  worst["weights"] =
      testing::worst_adapter_difference(std::filesystem::path(training.config.output_dir) / "final", folder / "final");
  return worst;
}

class OrpoTrajectory : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json")); }
};

TEST_P(OrpoTrajectory, EveryStepIsTrls) {
  const ScratchFolder scratch;
  Training<OrpoConfig> training(scratch.path() / "run", GetParam());
  auto errors = errors_of(training);
  const json noise =
      json_of(golden("trajectories/sensitivity.json")).at("orpo_lora").at("base_weights_times_1_plus_1e-7_noise");
  expect_within("loss", errors["loss"], 1e-5);  // the README's; noise alone moves TRL by 1e-6
  for (const char* name : {"nll_loss", "log_odds_ratio", "log_odds_chosen", "rewards/margins", "logps/chosen"})
    expect_within(name, errors[name], 1e-5);  // means of log-probabilities, as the loss
  // A forward in another order of additions is noise in every product, not only in the weights: 8 times as much.
  expect_within("grad_norm", errors["grad_norm"], 8 * noise.at("max_relative_grad_norm_difference").get<double>());
  expect_within("weights", errors["weights"], 8 * noise.at("max_final_weight_difference").get<double>());
}

INSTANTIATE_TEST_SUITE_P(Orpo, OrpoTrajectory, ::testing::Values("plain", ""),
                         [](const auto& info) { return *info.param == '\0' ? "best" : "plain"; });

TEST(OrpoTrajectoryTwins, AreRejected) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  const std::vector<std::pair<const char*, std::function<void(Training<OrpoConfig>&)>>> twins = {
      {"beta", [](Training<OrpoConfig>& t) { t.config.beta = 0.12; }},
      {"sides swapped",
       [](Training<OrpoConfig>& t) {
         for (auto& pair : t.rows.rows) std::swap(pair.chosen, pair.rejected);
       }},
      {"the prompt in the odds", [](Training<OrpoConfig>& t) {
         for (auto& pair : t.rows.rows) pair.chosen.prompt_tokens = pair.rejected.prompt_tokens = 1;
       }}};
  for (const auto& [what, change] : twins) {
    const ScratchFolder scratch;
    Training<OrpoConfig> training(scratch.path() / "run");
    change(training);
    EXPECT_GT(errors_of(training)["loss"], 1e-4) << what;  // ten times the tolerance
  }
}

template <typename Config>
class WithoutReference : public ::testing::Test {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json")); }
  using Run = Training<Config>;
  static std::string run_of(const std::function<void(Run&)>& change, const std::function<void(Run&)>& go) {
    const ScratchFolder scratch;
    Run training(scratch.path() / "run");
    training.config.shuffle_dataset = true;
    training.config.max_steps = 8;
    training.config.eval_strategy = "steps";
    training.config.eval_steps = 2;
    training.config.save_steps = 2;
    if constexpr (std::is_same_v<Config, CpoConfig>) training.config.loss_type = "simpo";
    change(training);
    go(training);
    std::string all;
    for (json row : training.metrics()) {
      row.erase("step_time");
      all += row.dump() + "\n";
    }
    return all + read_text(std::filesystem::path(training.config.output_dir) / "final" / "adapter_model.safetensors");
  }
};
using Configs = ::testing::Types<CpoConfig, OrpoConfig>;
TYPED_TEST_SUITE(WithoutReference, Configs);

TYPED_TEST(WithoutReference, MicroBatchesChangeNoBitAndAResumeReachesTheSameBytes) {
  using Run = Training<TypeParam>;
  const auto whole = [](Run& t) { t.run(); };
  const std::string expected = this->run_of([](Run&) {}, whole);
  EXPECT_EQ(this->run_of([](Run& t) { t.config.micro_batch_tokens = 1; }, whole), expected);
  EXPECT_EQ(this->run_of([](Run& t) { t.config.gradient_checkpointing = "true"; }, whole), expected);
  EXPECT_NE(this->run_of([](Run& t) { t.config.beta = 0.2; }, whole), expected);
  const std::string resumed = this->run_of([](Run&) {},
                                           [](Run& t) {
                                             EXPECT_TRUE(t.run(3).interrupted);
                                             t.config.resume_from_checkpoint = "true";
                                             EXPECT_EQ(t.run().steps, 8);
                                           });
  EXPECT_EQ(resumed, expected);
}

}  // namespace
}  // namespace candor::recipes
