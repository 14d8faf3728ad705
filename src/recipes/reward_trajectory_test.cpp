// A training by TRL's RewardTrainer (shared/golden/trajectories/reward_lora) through the whole recipe: run_reward on
// the recorded pairs, held step by step against TRL's losses and metrics, and final/ against TRL's weights, head
// included.
#include "recipes/reward.h"

#include <gtest/gtest.h>

#include "recipes/recorded_training.h"

namespace candor::recipes {
namespace {

using candor::testing::expect_within;
using candor::testing::golden;
using candor::testing::ScratchFolder;
using candor::testing::value_of;
using testing::errors_of;
using testing::expect_trls;
using testing::recorded_pairs;
using testing::SameBits;

const char* const kName = "reward_lora";

struct Training : testing::RecordedTraining<RewardConfig, data::PairSet> {
  explicit Training(const std::filesystem::path& output, const char* level = "")
      : RecordedTraining(kName, recorded_pairs(golden("trajectories") / kName), output, level) {}

  SupervisedResult run(int64_t stop = 1000) {
    const RewardParts all{parts(stop), rows, held_out()};
    SupervisedStart start = value_of(start_reward(config, *bench.context, model, files, rows));
    return value_of(run_reward(config, all, std::move(start)));
  }
};

std::unique_ptr<Training> make(const std::filesystem::path& output) {
  return std::make_unique<Training>(output);
}

class RewardTrajectory : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json")); }
};

TEST_P(RewardTrajectory, EveryStepIsTrls) {
  const ScratchFolder scratch;
  Training training(scratch.path() / "run", GetParam());
  auto errors = errors_of(training, {"accuracy", "margin", "mean_reward"});
  expect_trls(training, errors);
  expect_within("accuracy", errors["accuracy"], 0);
  expect_within("margin", errors["margin"], 1e-4);  // scores of up to 10, in float32, after 20 steps
  expect_within("mean_reward", errors["mean_reward"], 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Reward, RewardTrajectory, ::testing::Values("plain", ""),
                         [](const auto& info) { return *info.param == '\0' ? "best" : "plain"; });

TEST(RewardTrajectoryTwins, AreRejected) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  const testing::Twins<Training> twins = {{"centred", [](Training& t) { t.config.center_rewards_coefficient = 0.01; }},
                                          {"a margin", [](Training& t) { t.rows.rows[0].margin = 0.1; }},
                                          {"sides swapped",
                                           [](Training& t) {
                                             for (auto& pair : t.rows.rows) std::swap(pair.chosen, pair.rejected);
                                           }},
                                          {"the score before the last token", [](Training& t) {
                                             for (auto& pair : t.rows.rows) pair.chosen.ids.pop_back();
                                           }}};
  testing::expect_rejected<Training>(make, twins);
}

TEST(RewardRun, ComputedInAnyWayItHasTheSameBits) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  const SameBits<Training> all([](const std::filesystem::path& output) {
    auto training = make(output);
    training->config.center_rewards_coefficient = 0.01;
    return training;
  });
  all.expect_no_bit_changes();
  all.expect_resumes();
}

// What final/ holds is the sequence classifier that was trained: it scores as that did.
TEST(RewardOfEveryWeight, IsSavedAsASequenceClassifier) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  const auto make_full = [](const std::filesystem::path& output) {
    auto training = make(output);
    RewardConfig& config = training->config;
    config.use_peft = false;
    config.adapter_name_or_path.clear();
    config.gradient_shards = 1;
    config.learning_rate = 1e-3;
    return training;
  };
  const SameBits<Training> all(make_full);
  all.expect_same([](Training& t) { t.config.micro_batch_tokens = 1; });
  all.expect_resumes();
  const ScratchFolder scratch;
  const auto training = make_full(scratch.path() / "run");
  const SupervisedResult result = training->run();
  EXPECT_LT(training->metrics().back()["loss"].get<double>(), 0.3);
  const auto any = [](size_t, size_t) { return true; };
  const auto scores = [&](const engine::Model& model, const engine::ScalarHead& head) {
    return evaluate_reward(training->config, *training->bench.context, model, nullptr, head, training->rows, any)
        ->chosen;
  };
  const files::ModelFiles saved = value_of(files::open_model(scratch.path() / "run" / "final"));
  EXPECT_EQ(saved.config.labels, 1);
  const engine::Model model = value_of(engine::load_body(*training->bench.context, saved, engine::Dtype::kFloat32));
  const engine::ScalarHead head = value_of(engine::read_score_head(*training->bench.context, model, saved));
  EXPECT_EQ(scores(model, head), scores(training->model, *result.trained.head));
}

}  // namespace
}  // namespace candor::recipes
