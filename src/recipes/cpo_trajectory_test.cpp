// A training by TRL's ORPOTrainer (shared/golden/trajectories/orpo_lora) through the whole recipe: run_orpo on the
// recorded pairs, held step by step against TRL's losses and metrics, and final/ against TRL's weights. And what CPO
// and ORPO promise of themselves: the same bits for every micro-batch and after every resume.
#include "recipes/cpo.h"

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

template <typename Config>
struct Training : testing::RecordedTraining<Config, data::PairSet> {
  using Base = testing::RecordedTraining<Config, data::PairSet>;

  explicit Training(const std::filesystem::path& output, const char* level = "")
      : Base("orpo_lora", recorded_pairs(golden("trajectories/orpo_lora")), output, level) {}

  SupervisedResult run(int64_t stop = 1000) {
    const PairParts all{Base::parts(stop), Base::rows, Base::held_out()};
    SupervisedStart start =
        value_of(start_cpo(Base::config, *Base::bench.context, Base::model, Base::files, Base::rows));
    if constexpr (std::is_same_v<Config, OrpoConfig>)
      return value_of(run_orpo(Base::config, all, std::move(start)));
    else
      return value_of(run_cpo(Base::config, all, std::move(start)));
  }
};

template <typename Config>
std::unique_ptr<Training<Config>> make(const std::filesystem::path& output) {
  auto training = std::make_unique<Training<Config>>(output);
  if constexpr (std::is_same_v<Config, CpoConfig>) training->config.loss_type = "simpo";
  return training;
}

class OrpoTrajectory : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json")); }
};

TEST_P(OrpoTrajectory, EveryStepIsTrls) {
  const ScratchFolder scratch;
  Training<OrpoConfig> training(scratch.path() / "run", GetParam());
  const std::initializer_list<const char*> names = {"nll_loss", "log_odds_ratio", "log_odds_chosen", "rewards/margins",
                                                    "logps/chosen"};
  auto errors = errors_of(training, names);
  expect_trls(training, errors);
  for (const char* name : names) expect_within(name, errors[name], 1e-5);  // means of log-probabilities, as the loss
}

INSTANTIATE_TEST_SUITE_P(Orpo, OrpoTrajectory, ::testing::Values("plain", ""),
                         [](const auto& info) { return *info.param == '\0' ? "best" : "plain"; });

TEST(OrpoTrajectoryTwins, AreRejected) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  using Orpo = Training<OrpoConfig>;
  const testing::Twins<Orpo> twins = {{"beta", [](Orpo& t) { t.config.beta = 0.12; }},
                                      {"sides swapped",
                                       [](Orpo& t) {
                                         for (auto& pair : t.rows.rows) std::swap(pair.chosen, pair.rejected);
                                       }},
                                      {"the prompt in the odds", [](Orpo& t) {
                                         for (auto& pair : t.rows.rows)
                                           pair.chosen.prompt_tokens = pair.rejected.prompt_tokens = 1;
                                       }}};
  testing::expect_rejected<Orpo>(make<OrpoConfig>, twins);
}

template <typename Config>
class WithoutReference : public ::testing::Test {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json")); }
};
using Configs = ::testing::Types<CpoConfig, OrpoConfig>;
TYPED_TEST_SUITE(WithoutReference, Configs);

TYPED_TEST(WithoutReference, ComputedInAnyWayItHasTheSameBits) {
  using Run = Training<TypeParam>;
  const SameBits<Run> all(make<TypeParam>);
  all.expect_no_bit_changes();
  all.expect_other([](Run& t) { t.config.beta = 0.2; });
  all.expect_resumes();
}

}  // namespace
}  // namespace candor::recipes
