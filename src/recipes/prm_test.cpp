// Process reward models through the whole recipe: they learn which steps are right, with the same bits however the run
// is computed and after every resume; and final/ is the adapter and head that was trained. The loss itself and the
// places of the labels are held against TRL in their own rooms.
#include "recipes/prm.h"

#include <gtest/gtest.h>

#include "engine/roles.h"
#include "recipes/recorded_training.h"

namespace candor::recipes {
namespace {

using candor::testing::golden;
using candor::testing::ScratchFolder;
using candor::testing::value_of;
using testing::SameBits;

// The recorded pairs' rows as solutions: a token below 48 ends a right step, another a wrong one.
data::StepwiseSet steps() {
  data::StepwiseSet set;
  for (const data::PreferencePair& pair : testing::recorded_pairs(golden("trajectories/reward_lora")).rows) {
    data::StepwiseRow row{pair.chosen.ids, {}, {}, pair.row};
    for (size_t t = 1; t < row.ids.size(); t += 2) {
      row.ends.push_back(static_cast<int64_t>(t));
      row.labels.push_back(row.ids[t] < 48 ? 1 : 0);
    }
    set.rows.push_back(std::move(row));
  }
  return set;
}

struct Training : testing::RecordedTraining<PrmConfig, data::StepwiseSet> {
  explicit Training(const std::filesystem::path& output) : RecordedTraining("reward_lora", steps(), output, "") {
    config.adapter_name_or_path.clear();  // whose head has one label
    config.lora_r = 4;
  }
  SupervisedResult run(int64_t stop = 1000) {
    const PrmParts all{parts(stop), rows, held_out()};
    SupervisedStart start = value_of(start_prm(config, *bench.context, model, files, rows));
    return value_of(run_prm(config, all, std::move(start)));
  }
};

std::unique_ptr<Training> make(const std::filesystem::path& output) {
  return std::make_unique<Training>(output);
}

class Prm : public ::testing::Test {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/reward_lora/config.json")); }
};

TEST_F(Prm, ComputedInAnyWayItHasTheSameBits) {
  const SameBits<Training> all(make);
  all.expect_no_bit_changes();
  all.expect_resumes();
}

TEST_F(Prm, LearnsWhichStepsAreRightAndKeepsItInItsFile) {
  const ScratchFolder scratch;
  const auto training = make(scratch.path() / "run");
  const SupervisedResult result = training->run();
  const auto rows = training->metrics();
  EXPECT_GT(rows.back()["accuracy"].get<double>(), 0.9);
  EXPECT_LT(rows.back()["loss"].get<double>(), 0.6 * rows.front()["loss"].get<double>());
  const auto any = [](size_t, size_t) { return true; };
  const engine::Context& context = *training->bench.context;
  const auto logits = [&](const engine::Adapter* adapter, const engine::ScalarHead& head) {
    return evaluate_prm(context, training->model, adapter, head, training->rows, any)->logits;
  };
  const auto expected = logits(result.trained.adapter.get(), *result.trained.head);
  const engine::Role role = value_of(engine::role_from_peft(
      context, "reward", training->model, value_of(files::read_peft_adapter(scratch.path() / "run" / "final"))));
  ASSERT_TRUE(role.head);
  EXPECT_EQ(role.head->labels, 2);
  EXPECT_EQ(logits(role.adapter_or_null(), *role.head), expected);
  // With labels swapped the same model is as wrong as it was right.
  data::StepwiseSet swapped = training->rows;
  for (auto& row : swapped.rows)
    for (uint8_t& label : row.labels) label = 1 - label;
  const auto wrong =
      evaluate_prm(context, training->model, result.trained.adapter.get(), *result.trained.head, swapped, any);
  EXPECT_LT(wrong->metrics()[1].value, 0.1);
  EXPECT_GT(wrong->loss(), 1.0);
}

}  // namespace
}  // namespace candor::recipes
