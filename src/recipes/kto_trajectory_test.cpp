// A training by TRL's KTOTrainer (shared/golden/trajectories/kto_lora) through the whole recipe: run_kto on the
// recorded rows, held step by step against TRL's losses and metrics, and final/ against TRL's weights.
#include <gtest/gtest.h>

#include "engine/testing.h"
#include "recipes/kto.h"
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

const char* const kName = "kto_lora";

data::LabelledSet recorded_rows() {
  constexpr size_t kEpoch = 10;
  data::LabelledSet set;
  set.name = kName;
  const auto batches = lines_of(golden("trajectories") / kName / "batches.jsonl");
  for (size_t b = 0; b < kEpoch; ++b)
    for (size_t i = 0; i < batches[b].at("input_ids").size(); ++i)
      set.rows.push_back({testing::answer_of(batches[b], i), batches[b].at("label")[i], 0});
  return set;
}

struct Training {
  Bench bench;
  files::ModelFiles files = value_of(files::open_model(golden("trajectories/model")));
  engine::Model model = bench.load(files);
  data::LabelledSet rows = recorded_rows();
  KtoConfig config;

  explicit Training(const std::filesystem::path& output, const char* level = "") : bench(2, level) {
    const json recorded = json_of(golden("trajectories") / kName / "config.json");
    testing::take_recorded(recorded, output, config);
    config.loss_type = recorded.at("loss_type");
    config.beta = recorded.at("beta");
  }
  SupervisedResult run(int64_t stop = 1000) {
    std::filesystem::create_directories(config.output_dir);
    int64_t done = 0;
    const KtoParts parts{.context = *bench.context,
                         .model = model,
                         .rows = rows,
                         .held_out = config.eval_steps ? &rows : nullptr,
                         .reference = nullptr,
                         .recipe_yaml = "",
                         .report = [&](const StepReport& report) { done = report.step; },
                         .say = {},
                         .doing = {},
                         .interrupted = [&] { return done >= stop; }};
    SupervisedStart start = value_of(start_kto(config, *bench.context, model, files, rows));
    return value_of(run_kto(config, parts, std::move(start)));
  }
  std::vector<json> metrics() const { return lines_of(std::filesystem::path(config.output_dir) / "metrics.jsonl"); }
};

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
    worse("kl", ours[i]["kl"], theirs[i]["metrics"]["kl"]);  // TRL's other metrics are means of its batches' means
  }
  worst["weights"] =
      testing::worst_adapter_difference(std::filesystem::path(training.config.output_dir) / "final", folder / "final");
  return worst;
}

class KtoTrajectory : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json")); }
};

TEST_P(KtoTrajectory, EveryStepIsTrls) {
  const ScratchFolder scratch;
  Training training(scratch.path() / "run", GetParam());
  auto errors = errors_of(training);
  const json noise =
      json_of(golden("trajectories/sensitivity.json")).at(kName).at("base_weights_times_1_plus_1e-7_noise");
  expect_within("loss", errors["loss"], 1e-5);  // the README's; noise alone moves TRL by 6e-8
  expect_within("kl", errors["kl"], 1e-4);      // log-ratios of up to 60 nats in float32
  // A forward in another order of additions is noise in every product, not only in the weights: 8 times as much.
  expect_within("grad_norm", errors["grad_norm"], 8 * noise.at("max_relative_grad_norm_difference").get<double>());
  expect_within("weights", errors["weights"], 8 * noise.at("max_final_weight_difference").get<double>());
}

INSTANTIATE_TEST_SUITE_P(Kto, KtoTrajectory, ::testing::Values("plain", ""),
                         [](const auto& info) { return *info.param == '\0' ? "best" : "plain"; });

TEST(KtoTrajectoryTwins, AreRejected) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  const std::vector<std::pair<const char*, std::function<void(Training&)>>> twins = {
      {"no baseline", [](Training& t) { t.config.loss_type = "apo_zero_unpaired"; }},
      {"a baseline of the whole step", [](Training& t) { t.config.per_device_train_batch_size = 8; }},
      {"labels swapped",
       [](Training& t) {
         for (auto& row : t.rows.rows) row.desirable = !row.desirable;
       }},
      {"weights", [](Training& t) { t.config.desirable_weight = 1.1; }}};
  for (const auto& [what, change] : twins) {
    const ScratchFolder scratch;
    Training training(scratch.path() / "run");
    change(training);
    if (training.config.per_device_train_batch_size == 8) training.config.gradient_accumulation_steps = 1;
    EXPECT_GT(errors_of(training)["loss"], 1e-4) << what;  // ten times the tolerance
  }
}

class KtoRun : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json")); }
  static std::string run_of(const std::function<void(Training&)>& change, const std::function<void(Training&)>& go) {
    const ScratchFolder scratch;
    Training training(scratch.path() / "run");
    training.config.loss_type = GetParam();
    training.config.shuffle_dataset = true;
    training.config.max_steps = 8;
    training.config.eval_strategy = "steps";
    training.config.eval_steps = 2;
    training.config.save_steps = 2;
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

TEST_P(KtoRun, MicroBatchesAndRecomputationChangeNoBit) {
  const auto whole = [](Training& t) { t.run(); };
  const std::string expected = run_of([](Training&) {}, whole);
  EXPECT_EQ(run_of([](Training& t) { t.config.micro_batch_tokens = 1; }, whole), expected);
  EXPECT_EQ(run_of([](Training& t) { t.config.gradient_checkpointing = "true"; }, whole), expected);
  EXPECT_NE(run_of([](Training& t) { t.config.seed = 3; }, whole), expected);  // the order is drawn
}

TEST_P(KtoRun, AResumeReachesTheSameBytes) {
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

INSTANTIATE_TEST_SUITE_P(Kto, KtoRun, ::testing::Values("kto", "bco"));

}  // namespace
}  // namespace candor::recipes
