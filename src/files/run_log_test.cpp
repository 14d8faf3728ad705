#include "files/run_log.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/oracle.h"
#include "support/scratch.h"

namespace candor::files {
namespace {

using candor::testing::read_text;
using candor::testing::ScratchFolder;

TEST(JsonLines, AppendsOneLineARow) {
  const ScratchFolder run;
  {
    auto log = JsonLines::open(run / "metrics.jsonl");
    ASSERT_TRUE(log) << log.error().message;
    ASSERT_TRUE(log->write({{"step", 1}, {"reward", 0.1}}));
    ASSERT_TRUE(log->write({{"step", 2}, {"reward", std::nan("")}, {"text", "two\nlines\xff"}}));
    ASSERT_TRUE(log->sync());
  }
  auto log = JsonLines::open(run / "metrics.jsonl");
  ASSERT_TRUE(log->write({{"step", 3}}));
  EXPECT_EQ(
      read_text(run / "metrics.jsonl"),
      "{\"step\":1,\"reward\":0.1}\n{\"step\":2,\"reward\":null,\"text\":\"two\\nlines\xef\xbf\xbd\"}\n{\"step\":3}\n");
}

TEST(JsonLines, ResumeCutsLaterStepsAndATornLine) {
  const ScratchFolder run;
  const std::string upto2 = "{\"step\":1}\n{\"step\":2,\"a\":1}\n{\"step\":2,\"a\":2}\n";
  run.write("log", upto2 + "{\"step\":3}\n{\"step\":4,\"rew");
  auto log = JsonLines::resume(run / "log", 2);
  ASSERT_TRUE(log) << log.error().message;
  EXPECT_EQ(read_text(run / "log"), upto2);
  ASSERT_TRUE(log->write({{"step", 3}}));
  EXPECT_EQ(read_text(run / "log"), upto2 + "{\"step\":3}\n");
  ASSERT_TRUE(JsonLines::resume(run / "log", 0));
  EXPECT_EQ(read_text(run / "log"), "");
  ASSERT_TRUE(JsonLines::resume(run / "new", 7));  // absent: made
}

TEST(JsonLines, ResumeReadsLinesLongerThanItsBuffer) {
  const ScratchFolder run;
  const std::string first = "{\"step\":1,\"t\":\"" + std::string(3 << 20, 'x') + "\"}\n", second = "{\"step\":2}\n";
  run.write("log", first + second + first);
  ASSERT_TRUE(JsonLines::resume(run / "log", 1));
  EXPECT_EQ(read_text(run / "log").size(),
            2 * first.size() + second.size());  // the last row with step <= 1 is the last
  run.write("log", first + second);
  ASSERT_TRUE(JsonLines::resume(run / "log", 1));
  EXPECT_EQ(read_text(run / "log").size(), first.size());
}

TEST(JsonLines, ResumeRefusesAForeignFile) {
  const ScratchFolder run;
  run.write("log", "{\"step\":1}\n{\"reward\":1}\n");
  EXPECT_EQ(JsonLines::resume(run / "log", 1).error().message,
            fmt::format("[{}, line 2] has no whole number \"step\"; the file was not written by a run, or was edited.",
                        (run / "log").string()));
  EXPECT_EQ(read_text(run / "log"), "{\"step\":1}\n{\"reward\":1}\n");  // untouched
}

TEST(RunLog, SummaryIsReplacedWhole) {
  const ScratchFolder run;
  ASSERT_TRUE(write_json_atomically(run / "summary.json", {{"seed", 1}}));
  EXPECT_EQ(read_text(run / "summary.json"), "{\n  \"seed\": 1\n}\n");
}

}  // namespace
}  // namespace candor::files
