#include "files/event_log.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "support/oracle.h"
#include "support/scratch.h"

namespace candor::files {
namespace {

namespace fs = std::filesystem;

fs::path only_file(const fs::path& folder) {
  fs::path found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    EXPECT_TRUE(found.empty()) << "more than one file";
    found = entry.path();
  }
  return found;
}

EventLog resumed(const fs::path& folder, int64_t last_step) {
  auto log = EventLog::resume(folder, last_step, 1700000000.0);
  EXPECT_TRUE(log.has_value()) << log.error().message;
  return std::move(*log);
}

// RFC 3720, appendix B.4: the CRC-32C of 32 bytes of zeros, of ones, and of 0, 1, … 31; "123456789" is Koopman's check.
TEST(EventLog, Crc32cMatchesPublishedVectors) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string counting;
  for (int i = 0; i < 32; ++i) counting += static_cast<char>(i);
  EXPECT_EQ(crc32c(counting), 0x46dd794eu);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
}

TEST(EventLog, WhatIsWrittenIsRead) {
  const candor::testing::ScratchFolder scratch;
  {
    EventLog log = resumed(scratch.path(), 0);
    ASSERT_TRUE(log.write({1700000001.5, 1, {{"train/loss", 0.5}, {"train/grad_norm", 2}}}).has_value());
    ASSERT_TRUE(log.write({1700000002.5, 2, {{"train/loss", std::numeric_limits<double>::quiet_NaN()}}}).has_value());
  }
  const auto events = read_events(only_file(scratch.path()));
  ASSERT_TRUE(events.has_value());
  ASSERT_EQ(events->size(), 2u);
  EXPECT_EQ(events->at(0).wall_time, 1700000001.5);
  EXPECT_EQ(events->at(0).step, 1);
  EXPECT_EQ(events->at(0).scalars.at(1).name, "train/grad_norm");
  EXPECT_EQ(events->at(0).scalars.at(1).value, 2.0);
  EXPECT_TRUE(std::isnan(events->at(1).scalars.at(0).value));
}

TEST(EventLog, AResumedRunShowsNoStepTwice) {
  const candor::testing::ScratchFolder scratch;
  {
    EventLog log = resumed(scratch.path(), 0);
    for (int64_t step = 1; step <= 5; ++step)
      ASSERT_TRUE(log.write({1.0, step, {{"train/loss", 1.0 * step}}}).has_value());
  }
  {
    EventLog log = resumed(scratch.path(), 3);
    ASSERT_TRUE(log.write({2.0, 4, {{"train/loss", 40}}}).has_value());
  }
  const auto events = read_events(only_file(scratch.path()));
  ASSERT_TRUE(events.has_value());
  ASSERT_EQ(events->size(), 4u);
  EXPECT_EQ(events->at(2).scalars.at(0).value, 3.0);
  EXPECT_EQ(events->at(3).scalars.at(0).value, 40.0);
}

TEST(EventLog, ATornOrDamagedEndIsCut) {
  const candor::testing::ScratchFolder scratch;
  {
    EventLog log = resumed(scratch.path(), 0);
    for (int64_t step = 1; step <= 3; ++step) ASSERT_TRUE(log.write({1.0, step, {{"train/loss", 1.0}}}).has_value());
  }
  const fs::path file = only_file(scratch.path());
  fs::resize_file(file, fs::file_size(file) - 3);
  EXPECT_EQ(read_events(file)->size(), 2u);
  {
    EventLog log = resumed(scratch.path(), 9);
    ASSERT_TRUE(log.write({1.0, 10, {{"train/loss", 1.0}}}).has_value());
  }
  EXPECT_EQ(read_events(file)->size(), 3u);
  std::string bytes = candor::testing::read_text(file);
  bytes[bytes.size() - 8] ^= 1;  // in the last record's data: its checksum no longer holds
  std::ofstream(file, std::ios::binary) << bytes;
  EXPECT_EQ(read_events(file)->size(), 2u);
  std::ofstream(file, std::ios::binary) << std::string(64, '\xff');
  EXPECT_EQ(read_events(file)->size(), 0u);
}

TEST(EventLog, AFolderThatIsNotThereIsNamed) {
  const candor::testing::ScratchFolder scratch;
  const auto log = EventLog::resume(scratch.path() / "absent", 0, 1700000000.0);
  ASSERT_FALSE(log.has_value());
  EXPECT_EQ(log.error().message,
            fmt::format("[{}] cannot open for writing: No such file or directory.",
                        (scratch.path() / "absent/events.out.tfevents.1700000000.candor").string()));
}

}  // namespace
}  // namespace candor::files
