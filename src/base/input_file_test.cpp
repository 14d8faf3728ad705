#include "base/input_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace candor {
namespace {

namespace fs = std::filesystem;

class InputFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / fmt::format("candor_input_file_{}", ::getpid());
    fs::create_directories(dir_);
    std::ofstream(dir_ / "ten") << "0123456789";
  }
  void TearDown() override { fs::remove_all(dir_); }
  fs::path dir_;
};

TEST_F(InputFileTest, ReadsFromTheMiddle) {
  auto file = InputFile::open(dir_ / "ten");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->size(), 10u);
  char text[4] = {};
  ASSERT_TRUE(file->read(3, text, 3));
  EXPECT_STREQ(text, "345");
  EXPECT_EQ(*read_file(dir_ / "ten", 10), "0123456789");
}

TEST_F(InputFileTest, RefusesWhatIsAbsentOrNoFile) {
  EXPECT_EQ(InputFile::open(dir_ / "none").error().message,
            fmt::format("[{}] cannot open: No such file or directory.", (dir_ / "none").string()));
  EXPECT_EQ(InputFile::open(dir_).error().message, fmt::format("[{}] is not a regular file.", dir_.string()));
  ASSERT_EQ(::mkfifo((dir_ / "pipe").c_str(), 0600), 0);
  EXPECT_FALSE(InputFile::open(dir_ / "pipe"));  // and does not wait for a writer
  EXPECT_EQ(read_file(dir_ / "ten", 9).error().message,
            fmt::format("[{}] has 10 bytes; at most 9 are expected here.", (dir_ / "ten").string()));
}

TEST_F(InputFileTest, RefusesBytesPastTheEnd) {
  auto file = InputFile::open(dir_ / "ten");
  char text[16];
  EXPECT_FALSE(file->read(8, text, 3));
  EXPECT_FALSE(file->read(UINT64_MAX, text, 2));
  EXPECT_TRUE(file->read(10, text, 0));
}

TEST_F(InputFileTest, AFileThatShrinksIsAnErrorNotASignal) {
  auto file = InputFile::open(dir_ / "ten");
  fs::resize_file(dir_ / "ten", 4);
  char text[10];
  EXPECT_EQ(file->read(0, text, 10).error().message,
            fmt::format("[{}] has become shorter while it was read: it had 10 bytes and ends at byte 4 now.",
                        (dir_ / "ten").string()));
}

}  // namespace
}  // namespace candor
