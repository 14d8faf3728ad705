#include "files/checkpoint.h"

#include <gmock/gmock.h>
#include <sys/wait.h>

#include "support/oracle.h"
#include "support/scratch.h"

namespace candor::files {
namespace {

using candor::testing::read_text;
using candor::testing::ScratchFolder;
namespace fs = std::filesystem;

CheckpointFile file(const std::string& name, const std::string& text) {
  return {name, [text](OutputFile& out) { return out.write(text); }};
}

std::vector<int64_t> steps(const fs::path& run) {
  std::vector<int64_t> found;
  const auto checkpoints = *list_checkpoints(run);
  for (const Checkpoint& checkpoint : checkpoints) found.push_back(checkpoint.step);
  return found;
}

TEST(Checkpoint, IsWrittenVerifiedAndFound) {
  const ScratchFolder run;
  EXPECT_EQ(*newest_complete(run / "not/yet"), std::nullopt);
  ASSERT_TRUE(write_checkpoint(run.path(), 5, {file("a", "abc"), file("b", "")}));
  auto written = write_checkpoint(run.path(), 10, {file("a", "def")});
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_EQ(read_text(run / "checkpoint-5/DONE"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n"
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b\n");
  const auto newest = *newest_complete(run.path());
  ASSERT_TRUE(newest);
  EXPECT_EQ(newest->step, 10);
  EXPECT_EQ(newest->path, run / "checkpoint-10");
  EXPECT_TRUE(verify_checkpoint(run / "checkpoint-5"));
}

TEST(Checkpoint, StepsOrderAsNumbersAndIncompleteOnesDoNotCount) {
  const ScratchFolder run;
  for (const int64_t step : {100, 20, 3}) ASSERT_TRUE(write_checkpoint(run.path(), step, {file("a", "x")}));
  run.write("checkpoint-200/a", "no DONE");
  run.write("checkpoint-300.tmp/DONE", "");
  run.write("checkpoint-x/DONE", "");
  EXPECT_THAT(steps(run.path()), ::testing::ElementsAre(3, 20, 100));
}

TEST(Checkpoint, WritingAStepAgainReplacesIt) {
  const ScratchFolder run;
  ASSERT_TRUE(write_checkpoint(run.path(), 5, {file("a", "old"), file("b", "old")}));
  run.write("checkpoint-5.tmp/left", "by an interrupted write");
  ASSERT_TRUE(write_checkpoint(run.path(), 5, {file("a", "new")}));
  EXPECT_EQ(read_text(run / "checkpoint-5/a"), "new");
  EXPECT_FALSE(fs::exists(run / "checkpoint-5/b"));
  EXPECT_FALSE(fs::exists(run / "checkpoint-5.tmp"));
}

TEST(Checkpoint, AFailedFileLeavesTheOlderOnes) {
  const ScratchFolder run;
  ASSERT_TRUE(write_checkpoint(run.path(), 5, {file("a", "x")}));
  const CheckpointFile failing{"b", [](OutputFile&) -> Result<void> { return error("disk full"); }};
  EXPECT_EQ(write_checkpoint(run.path(), 6, {file("a", "x"), failing}).error().message, "disk full");
  EXPECT_THAT(steps(run.path()), ::testing::ElementsAre(5));
  EXPECT_FALSE(fs::exists(run / "checkpoint-6.tmp"));
}

TEST(Checkpoint, DamageIsNamed) {
  const ScratchFolder run;
  ASSERT_TRUE(write_checkpoint(run.path(), 5, {file("a", "abc")}));
  run.write("checkpoint-5/a", "abd");
  EXPECT_EQ(verify_checkpoint(run / "checkpoint-5").error().message,
            fmt::format("[{}] is damaged: its SHA-256 is not the one in DONE. Remove this checkpoint to resume from an "
                        "older one.",
                        (run / "checkpoint-5/a").string()));
  fs::remove(run / "checkpoint-5/a");
  EXPECT_FALSE(verify_checkpoint(run / "checkpoint-5"));
}

TEST(Checkpoint, PruneKeepsTheNewestAndSweepsUp) {
  const ScratchFolder run;
  for (const int64_t step : {1, 2, 10}) ASSERT_TRUE(write_checkpoint(run.path(), step, {file("a", "x")}));
  run.write("checkpoint-11.tmp/a", "interrupted");
  run.write("metrics.jsonl", "");
  ASSERT_TRUE(prune(run.path(), 2));
  EXPECT_THAT(steps(run.path()), ::testing::ElementsAre(2, 10));
  EXPECT_FALSE(fs::exists(run / "checkpoint-11.tmp"));
  EXPECT_TRUE(fs::exists(run / "metrics.jsonl"));
}

// kill -9 in the middle of writing: what is found afterwards is complete.
TEST(Checkpoint, AKilledWriterLeavesOnlyCompleteOnes) {
  const ScratchFolder run;
  const std::string large(1 << 20, 'x');
  for (int round = 0; round < 5; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int64_t step = 1;; ++step) {
        if (!write_checkpoint(run.path(), step, {file("a", large), file("b", large)}) || !prune(run.path(), 2))
          _exit(1);
      }
    }
    ::usleep(20'000 + 17'000 * round);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    const auto checkpoints = *list_checkpoints(run.path());
    for (const Checkpoint& checkpoint : checkpoints) {
      auto verified = verify_checkpoint(checkpoint.path);
      EXPECT_TRUE(verified) << verified.error().message;
    }
  }
}

}  // namespace
}  // namespace candor::files
