#include "recipes/metrics_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/oracle.h"
#include "support/scratch.h"

namespace candor::recipes {
namespace {

std::vector<files::ScalarEvent> curves(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) return *files::read_events(entry.path());
  return {};
}

std::vector<int64_t> steps_of(const std::vector<files::ScalarEvent>& events) {
  std::vector<int64_t> steps;
  for (const auto& event : events) steps.push_back(event.step);
  return steps;
}

void write_steps(MetricsLog& log, int64_t first, int64_t last) {
  for (int64_t step = first; step <= last; ++step) {
    algorithms::Metrics metrics = {{"step", 1.0 * step}, {"loss", 0.5 * step}};
    if (step == 5) metrics.push_back({"eval/accuracy_greedy", 0.25});
    ASSERT_TRUE(log.write(metrics, step == 7));
  }
}

TEST(MetricsLog, CurvesAreThinnedAndRowsAreNot) {
  const candor::testing::ScratchFolder scratch;
  auto log = MetricsLog::resume(scratch.path(), 0, 3);
  ASSERT_TRUE(log) << log.error().message;
  write_steps(*log, 1, 7);
  const auto events = curves(scratch.path());
  ASSERT_THAT(steps_of(events), ::testing::ElementsAre(1, 3, 5, 6, 7));
  EXPECT_EQ(events[2].scalars[0].name, "train/loss");
  EXPECT_EQ(events[2].scalars[0].value, 2.5);
  EXPECT_EQ(events[2].scalars[1].name, "eval/accuracy_greedy");
  const std::string rows = candor::testing::read_text(scratch / "metrics.jsonl");
  EXPECT_EQ(std::count(rows.begin(), rows.end(), '\n'), 7);
}

TEST(MetricsLog, AResumedRunLooksAsIfItHadNeverStopped) {
  const candor::testing::ScratchFolder scratch;
  {
    auto log = MetricsLog::resume(scratch.path(), 0, 1);
    ASSERT_TRUE(log);
    write_steps(*log, 1, 4);
  }
  auto log = MetricsLog::resume(scratch.path(), 2, 1);
  ASSERT_TRUE(log);
  write_steps(*log, 3, 7);
  EXPECT_THAT(steps_of(curves(scratch.path())), ::testing::ElementsAre(1, 2, 3, 4, 5, 6, 7));
  const std::string rows = candor::testing::read_text(scratch / "metrics.jsonl");
  EXPECT_EQ(std::count(rows.begin(), rows.end(), '\n'), 7);
}

}  // namespace
}  // namespace candor::recipes
