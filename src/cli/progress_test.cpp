#include "cli/progress.h"

#include <gtest/gtest.h>

namespace candor::cli {
namespace {

// What `use` wrote.
template <typename Use>
std::string written(bool terminal, Use use) {
  std::FILE* file = std::tmpfile();
  {
    Progress progress(file, terminal, 40, 10);
    use(progress);
  }
  std::string text(static_cast<size_t>(std::ftell(file)), '\0');
  std::rewind(file);
  EXPECT_EQ(std::fread(text.data(), 1, text.size(), file), text.size());
  std::fclose(file);
  return text;
}

StepStatus status(int64_t step) {
  return {.step = step,
          .steps = 20,
          .reward = 0.125,
          .kl = 0.0021,
          .length_tokens = 11.25,
          .loss = {},
          .tokens_per_s = 412.4,
          .step_time_s = 7.0,
          .memory_bytes = 1288490188};
}

TEST(Progress, PlainLinesAreThinnedAndHoldNoEscapes) {
  const std::string text = written(false, [](Progress& progress) {
    for (int64_t step = 1; step <= 20; ++step) progress.step(status(step));
    progress.doing("sampling");
    progress.say("saved \x1b[2Jcheckpoint");
  });
  EXPECT_EQ(text,
            "step 1/20  reward 0.125  kl 0.0021  length 11.2  412 tok/s  1.20 GiB  2m 13s left\n"
            "step 10/20  reward 0.125  kl 0.0021  length 11.2  412 tok/s  1.20 GiB  1m 10s left\n"
            "step 20/20  reward 0.125  kl 0.0021  length 11.2  412 tok/s  1.20 GiB  0s left\n"
            "saved \uFFFD[2Jcheckpoint\n");
}

TEST(Progress, ATerminalHasOneLineThatFits) {
  const std::string text = written(true, [](Progress& progress) {
    progress.step(status(1));
    progress.say("saved");
  });
  EXPECT_EQ(text,
            "\r\x1b[Kstep 1/20  reward 0.125  kl 0.0021  le…"
            "\r\x1b[Ksaved\n"
            "\r\x1b[Kstep 1/20  reward 0.125  kl 0.0021  le…\n");
}

TEST(Progress, DurationsAndBytes) {
  EXPECT_EQ(duration_text(59.4), "59s");
  EXPECT_EQ(duration_text(123), "2m 03s");
  EXPECT_EQ(duration_text(3900), "1h 05m");
  EXPECT_EQ(duration_text(-1), "?");
  EXPECT_EQ(bytes_text(812 << 20), "812 MiB");
  EXPECT_EQ(bytes_text(1), "1 KiB");  // what is there does not read as nothing
  EXPECT_EQ(bytes_text(0), "0 KiB");
  EXPECT_EQ(bytes_text(int64_t{5} << 40), "5 TiB");
}

}  // namespace
}  // namespace candor::cli
