#include "files/run_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/scratch.h"

namespace candor::files {
namespace {

RunEntry run(const std::string& path, const std::string& started) {
  return {0, path, "grpo", "smollm2", "sums.jsonl", started};
}

TEST(RunIndex, KeepsRunsAcrossOpenings) {
  const candor::testing::ScratchFolder scratch;
  const auto path = scratch / "deep/er/runs.sqlite";
  {
    auto index = RunIndex::open(path);
    ASSERT_TRUE(index) << index.error().message;
    ASSERT_TRUE(index->record(run("/runs/a", "2026-01-01T00:00:00Z")));
    ASSERT_TRUE(index->record(run("/runs/it's \"b\"", "2026-01-02T00:00:00Z")));
  }
  auto index = RunIndex::open(path);
  ASSERT_TRUE(index);
  const auto entries = index->list();
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ(entries->at(1).path, "/runs/it's \"b\"");
  EXPECT_EQ(entries->at(1).verb, "grpo");
  EXPECT_EQ(entries->at(1).model, "smollm2");
  EXPECT_EQ(entries->at(1).dataset, "sums.jsonl");
  EXPECT_EQ(entries->at(1).started, "2026-01-02T00:00:00Z");
}

TEST(RunIndex, APathIsOneEntryAndANumberIsNotUsedTwice) {
  const candor::testing::ScratchFolder scratch;
  auto index = RunIndex::open(scratch / "runs.sqlite");
  ASSERT_TRUE(index);
  ASSERT_TRUE(index->record(run("/runs/a", "first")));
  ASSERT_TRUE(index->record(run("/runs/a", "second")));
  const auto once = index->list();
  ASSERT_EQ(once->size(), 1u);
  EXPECT_EQ(once->front().started, "second");
  ASSERT_TRUE(index->forget(once->front().id));
  EXPECT_TRUE(index->list()->empty());
  ASSERT_TRUE(index->record(run("/runs/a", "third")));
  EXPECT_GT(index->list()->front().id, once->front().id);
}

TEST(RunIndex, AFileThatIsNoIndexIsNamed) {
  const candor::testing::ScratchFolder scratch;
  scratch.write("runs.sqlite", std::string(4096, 'x'));
  const auto index = RunIndex::open(scratch / "runs.sqlite");
  ASSERT_FALSE(index);
  EXPECT_EQ(index.error().message, fmt::format("[{}] cannot open the index of runs: file is not a database.",
                                               (scratch / "runs.sqlite").string()));
}

}  // namespace
}  // namespace candor::files
