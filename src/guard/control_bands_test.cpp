#include "guard/control_bands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "guard/guard_testing.h"
#include "support/scratch.h"

namespace candor::guard {
namespace {

using namespace testing;  // candor::guard::testing: the courses
using files::Json;
using ::testing::HasSubstr;

std::vector<Json> rows_of(const Course& course) {
  std::vector<Json> rows;
  for (const Step& at : course) {
    Json row = {{"step", at.step}, {"loss", at.update.loss}};
    for (const auto* metrics : {&at.row, &at.signals})
      for (const auto& metric : *metrics) row[metric.name] = metric.value;
    rows.push_back(std::move(row));
  }
  return rows;
}

constexpr const char* kRecipe =
    "# Changes results: Model and data\nmodel_name_or_path: m\nseed: 3\nreward_funcs: [accuracy]\n\n"
    "# Changes results: The guard\nguard: stop\nkl_budget: 4.0\n\n# Changes only speed or memory\nthreads: 2\n";

TEST(ControlBands, KeysOfARecipe) {
  const RecipeKeys keys = recipe_keys(kRecipe);
  EXPECT_EQ(keys, (RecipeKeys{{"model_name_or_path", "m"}, {"reward_funcs", "[accuracy]"}}));
  EXPECT_EQ(differing_key(keys, keys), "");
  EXPECT_EQ(differing_key(keys, {{"model_name_or_path", "n"}, {"reward_funcs", "[accuracy]"}}), "model_name_or_path");
  EXPECT_EQ(differing_key(keys, {{"model_name_or_path", "m"}}), "reward_funcs");
  EXPECT_EQ(differing_key({}, keys), "model_name_or_path");
}

TEST(ControlBands, NoControlLookLiesBeyondThem) {
  std::vector<std::vector<Json>> runs;
  for (uint64_t seed = 0; seed < 3; ++seed) runs.push_back(rows_of(course(reasons_longer, seed)));
  const auto learnt = learn_control_bands(runs, recipe_keys(kRecipe));
  ASSERT_TRUE(learnt) << learnt.error().message;
  EXPECT_EQ(learnt->runs, 3);
  EXPECT_EQ(learnt->looks.at("length_drift"), 240);
  EXPECT_FALSE(learnt->bands.contains("ensemble_disagreement"));
  // Without a held-out reward its own start would call a run's longer answers a drift; the bands know them.
  const Course unasked = course(reasons_longer, 1, 80, 64, 0);
  EXPECT_TRUE(outcome(unasked, Guard()).signals.contains("length_drift"));
  const auto read = control_bands_from_json(Json::parse(control_bands_json(*learnt).dump()), "bands.json");
  ASSERT_TRUE(read) << read.error().message;
  const Guard guard({}, default_thresholds(), read->bands);
  EXPECT_EQ(outcome(unasked, guard).first_alarm, 0);
  // An exploit that is there from the first step has no honest start to differ from.
  const auto from_the_start = [](int64_t step) { return length_pays(step + 60); };
  EXPECT_FALSE(outcome(course(from_the_start, 1, 30), Guard()).signals.contains("truncated_share"));
  EXPECT_TRUE(outcome(course(from_the_start, 1, 30), guard).signals.contains("truncated_share"));
}

TEST(ControlBands, OfAnotherRecipeTheyAreRefused) {
  const candor::testing::ScratchFolder scratch;
  const auto learnt = learn_control_bands({rows_of(course(learns, 1))}, recipe_keys(kRecipe));
  ASSERT_TRUE(learnt);
  const std::filesystem::path file = scratch.path() / "bands.json";
  std::ofstream(file) << control_bands_json(*learnt).dump();
  Options options;
  options.guard_control_runs = scratch.path().string();  // the folder will do
  EXPECT_TRUE(start(options, kRecipe));
  const auto other = start(options, "model_name_or_path: m\nreward_funcs: [format]\n");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().message,
            "[guard] the control bands in " + scratch.path().string() +
                " are of another recipe: reward_funcs was [accuracy] there and is [format] here. Learn the run's own "
                "(leave guard_control_runs out), or make bands from runs of this recipe.");
  options.guard = "off";
  EXPECT_TRUE(start(options, "model_name_or_path: n\n"));
}

TEST(ControlBands, WhatIsNoFileOfBandsIsNamed) {
  const candor::testing::ScratchFolder scratch;
  const std::filesystem::path file = scratch.path() / "bands.json";
  const auto message = [&](const std::string& text) {
    std::ofstream(file) << text;
    const auto read = read_control_bands(file.string());
    return read ? "" : read.error().message;
  };
  EXPECT_THAT(read_control_bands(file.string()).error().message, HasSubstr("is not there"));
  EXPECT_THAT(message("{"), HasSubstr("is not valid JSON"));
  EXPECT_THAT(message("[1]"), HasSubstr("holds no control bands"));
  EXPECT_THAT(message(R"({"format": "candor control bands", "runs": 1})"), HasSubstr("is no whole file"));
  EXPECT_THAT(message(R"({"format": "candor control bands", "runs": 1, "recipe": {}, "bands": {"x": {"location": 1,
                          "spread": -1, "looks": 3}}})"),
              HasSubstr("the spread of x is below 0"));
}

}  // namespace
}  // namespace candor::guard
