// Trainings by TRL's DPOTrainer (shared/golden/trajectories) through the whole recipe: run_dpo on the recorded pairs,
// held step by step against TRL's losses and metrics, and final/ against TRL's weights. Then what the recipe promises
// of itself: the same bits for every micro-batch and after every resume.
#include "recipes/dpo.h"

#include <gtest/gtest.h>

#include "recipes/preference_gold.h"
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

struct Training : testing::RecordedTraining<DpoConfig, data::PairSet> {
  std::optional<ReferenceLogprobs> reference;
  std::optional<GoldScores> gold;

  Training(const std::string& name, const std::filesystem::path& output, const char* level = "")
      : RecordedTraining(name, recorded_pairs(golden("trajectories") / name), output, level) {
    config.loss_type = keys().at("loss_type").get<std::vector<std::string>>();
    config.beta = keys().at("beta");
  }

  SupervisedResult run(int64_t stop = 1000) {
    if (config.precomputes_reference() && !reference)
      reference = reference_logprobs(*bench.context, model, nullptr, rows, [](size_t, size_t) { return true; });
    const ReferenceLogprobs* computed = reference ? &*reference : nullptr;
    const PairParts all{parts(stop), rows, held_out(), nullptr, computed, computed, gold ? &*gold : nullptr};
    SupervisedStart start = value_of(start_dpo(config, *bench.context, model, files, rows));
    return value_of(run_dpo(config, all, std::move(start)));
  }
};

std::unique_ptr<Training> plain(const std::filesystem::path& output) {
  return std::make_unique<Training>("dpo_lora", output);
}

class DpoTrajectory : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json")); }
};

TEST_P(DpoTrajectory, EveryStepIsTrls) {
  const ScratchFolder scratch;
  Training training(std::get<0>(GetParam()), scratch.path() / "run", std::get<1>(GetParam()));
  const std::initializer_list<const char*> names = {"rewards/chosen",     "rewards/rejected", "rewards/margins",
                                                    "rewards/accuracies", "logps/chosen",     "logps/rejected"};
  auto errors = errors_of(training, names);
  expect_trls(training, errors);
  // Sums over a row's tokens, in TRL rounded to float32 at up to 60.
  for (const char* name : names) expect_within(name, errors[name], 1e-4);
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
  const testing::Twins<Training> twins = {{"another loss", [](Training& t) { t.config.loss_type = {"hinge"}; }},
                                          {"beta", [](Training& t) { t.config.beta = 0.11; }},
                                          {"chosen and rejected swapped", [](Training& t) {
                                             for (auto& pair : t.rows.rows) std::swap(pair.chosen, pair.rejected);
                                           }}};
  testing::expect_rejected<Training>(plain, twins);
}

TEST(IpoTrajectoryTwins, AreRejected) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  const testing::Twins<Training> twins = {{"the prompt counts too", [](Training& t) {
                                             for (auto& pair : t.rows.rows)
                                               pair.chosen.prompt_tokens = pair.rejected.prompt_tokens = 1;
                                           }}};
  const auto ipo = [](const std::filesystem::path& output) {
    return std::make_unique<Training>("dpo_ipo_lora", output);
  };
  testing::expect_rejected<Training>(ipo, twins);
}

class DpoRun : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json")); }
  static SameBits<Training> runs() {
    return SameBits<Training>([](const std::filesystem::path& output) {
      auto training = plain(output);
      training->config.loss_type = {GetParam(), "sft"};
      training->config.loss_weights = {1.0, 0.2};
      return training;
    });
  }
};

TEST_P(DpoRun, ComputedInAnyWayItHasTheSameBits) {
  const SameBits<Training> all = runs();
  all.expect_no_bit_changes();
  all.expect_same([](Training& t) { t.config.precompute_ref_log_probs = "true"; });
  all.expect_resumes();
}

INSTANTIATE_TEST_SUITE_P(Dpo, DpoRun, ::testing::Values("sigmoid", "ipo", "aot"));

TEST(GuardedDpo, MovesNoWeight) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  std::map<std::string, std::string> adapters;
  for (const char* guard : {"off", "warn", "stop"}) {
    const ScratchFolder scratch;
    const auto training = plain(scratch.path() / "run");
    training->config.guard.guard = guard;
    training->config.guard.guard_control_steps = 2;
    EXPECT_EQ(training->run().guard.stopped, "") << guard;
    EXPECT_EQ(training->metrics().back().contains("guard/alarms"), std::string_view(guard) != "off") << guard;
    adapters[guard] = candor::testing::read_text(scratch.path() / "run/final/adapter_model.safetensors");
  }
  EXPECT_EQ(adapters["warn"], adapters["off"]);
  EXPECT_EQ(adapters["stop"], adapters["off"]);
}

// A held-out reward that pays for the shorter side of the pairs that train.
void ask_held_out(Training& training) {
  training.config.guard.guard = "warn";
  training.config.gold_reward_funcs = {"accuracy"};
  training.config.gold_steps = 3;
  training.config.eval_steps = 1000;  // they are held-out pairs; evaluations are asked for by eval_strategy
  training.gold.emplace();
  for (const data::PreferencePair& pair : training.rows.rows) {
    training.gold->chosen.push_back(-static_cast<double>(pair.chosen.counted()));
    training.gold->rejected.push_back(-static_cast<double>(pair.rejected.counted()));
  }
}

TEST(DpoWithAHeldOutReward, LooksAtTheHeldOutPairsAndMovesNoWeight) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  std::map<std::string, std::string> adapters;
  for (const char* guard : {"none", "off", "warn"}) {
    const ScratchFolder scratch;
    const auto training = plain(scratch.path() / "run");
    if (std::string_view(guard) != "none") {
      ask_held_out(*training);
      training->config.guard.guard = guard;
    }
    training->run();
    const auto rows = training->metrics();
    for (size_t i = 0; i < rows.size(); ++i) {
      const bool looks = std::string_view(guard) != "none" && (i == 0 || (i + 1) % 3 == 0);
      EXPECT_EQ(rows[i].contains("gold"), looks) << guard << " " << i;
      EXPECT_EQ(rows[i].contains("gold/own_reward"), looks) << guard << " " << i;
    }
    adapters[guard] = candor::testing::read_text(scratch.path() / "run/final/adapter_model.safetensors");
  }
  EXPECT_EQ(adapters["off"], adapters["none"]);
  EXPECT_EQ(adapters["warn"], adapters["none"]);
}

TEST(DpoWithAHeldOutReward, HasTheSameBitsComputedInAnyWayAndResumes) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  const SameBits<Training> all([](const std::filesystem::path& output) {
    auto training = plain(output);
    ask_held_out(*training);
    return training;
  });
  all.expect_same([](Training& t) { t.config.micro_batch_tokens = 37; });
  all.expect_resumes();
}

// Every weight trains; the reference is the model as it was.
TEST(DpoOfEveryWeight, HasTheSameBitsComputedInAnyWayAndLearns) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  const auto make = [](const std::filesystem::path& output) {
    auto training = plain(output);
    DpoConfig& config = training->config;
    config.use_peft = false;
    config.adapter_name_or_path.clear();
    config.precompute_ref_log_probs = "true";
    config.gradient_shards = 1;
    config.learning_rate = 1e-3;
    return training;
  };
  const SameBits<Training> all(make);
  all.expect_same([](Training& t) { t.config.micro_batch_tokens = 1; });
  all.expect_resumes();
  const ScratchFolder scratch;
  const auto training = make(scratch.path() / "run");
  training->run();
  const auto rows = training->metrics();
  EXPECT_NEAR(rows.front()["loss"].get<double>(), std::log(2.0), 1e-6);  // policy and reference are one model
  EXPECT_LT(rows.back()["loss"].get<double>(), 0.6);
  EXPECT_EQ(rows.back()["rewards/accuracies"], 1.0);
}

}  // namespace
}  // namespace candor::recipes
