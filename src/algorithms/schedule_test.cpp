#include "algorithms/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/oracle.h"

namespace candor::algorithms {
namespace {

using candor::testing::golden;
using nlohmann::json;

TEST(Schedule, ClosedForms) {
  const auto rate = [](SchedulerType type, int64_t step) { return learning_rate({type, 2.0, 12, 4}, step); };
  EXPECT_EQ(rate(SchedulerType::kConstant, 0), 2.0);
  for (auto type : {SchedulerType::kConstantWithWarmup, SchedulerType::kLinear, SchedulerType::kCosine}) {
    EXPECT_EQ(rate(type, 0), 0.0);  // the first step does not move anything
    EXPECT_EQ(rate(type, 1), 0.5);
    EXPECT_EQ(rate(type, 4), 2.0);
  }
  EXPECT_EQ(rate(SchedulerType::kConstantWithWarmup, 11), 2.0);
  EXPECT_EQ(rate(SchedulerType::kLinear, 6), 1.5);
  EXPECT_EQ(rate(SchedulerType::kLinear, 11), 0.25);
  EXPECT_EQ(rate(SchedulerType::kLinear, 12), 0.0);
  EXPECT_EQ(rate(SchedulerType::kLinear, 99), 0.0);
  EXPECT_NEAR(rate(SchedulerType::kCosine, 6), 1 + std::sqrt(0.5), 1e-15);
  EXPECT_NEAR(rate(SchedulerType::kCosine, 8), 1.0, 1e-15);
  EXPECT_EQ(rate(SchedulerType::kCosine, 12), 0.0);
  EXPECT_EQ(rate(SchedulerType::kCosine, 99), 0.0);
}

TEST(Schedule, NoWarmupStartsAtThePeak) {
  for (auto type : {SchedulerType::kConstantWithWarmup, SchedulerType::kLinear, SchedulerType::kCosine})
    EXPECT_EQ(learning_rate({type, 3e-3, 10, 0}, 0), 3e-3);
}

TEST(Schedule, WarmupLongerThanTheRunNeverReachesThePeak) {
  EXPECT_EQ(learning_rate({SchedulerType::kCosine, 1.0, 2, 4}, 1), 0.25);
}

// The learning_rate column of every recorded training by TRL and Transformers.
TEST(Schedule, EveryGoldenTrajectory) {
  const auto root = golden("trajectories");
  CANDOR_REQUIRE_FILE(root);
  int runs = 0, steps = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (!std::filesystem::exists(entry.path() / "steps.jsonl")) continue;
    const json config = json::parse(candor::testing::read_text(entry.path() / "config.json"));
    const std::string type = config["lr_scheduler_type"];
    ASSERT_TRUE(type == "linear" || type == "cosine") << type;
    const Schedule schedule{type == "linear" ? SchedulerType::kLinear : SchedulerType::kCosine, config["learning_rate"],
                            config["max_steps"], config["warmup_steps"]};
    std::ifstream in(entry.path() / "steps.jsonl");
    int64_t step = 0;
    for (std::string line; std::getline(in, line); ++step, ++steps)
      // one unit in the last place of the cosine, times the peak
      EXPECT_NEAR(learning_rate(schedule, step), json::parse(line)["learning_rate"], 1e-18 + 2e-16 * schedule.peak)
          << entry.path() << " step " << step;
    ++runs;
  }
  EXPECT_EQ(runs, 15);
  EXPECT_EQ(steps, 12 * 20 + 3 * 10);
}

}  // namespace
}  // namespace candor::algorithms
