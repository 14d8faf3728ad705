#include "base/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "support/oracle.h"
#include "support/scratch.h"

namespace candor {
namespace {

using candor::testing::read_text;
using candor::testing::ScratchFolder;

int entries(const std::filesystem::path& path) {
  return static_cast<int>(std::distance(std::filesystem::directory_iterator(path), {}));
}

TEST(Sha256, MatchesThePublishedExamples) {  // FIPS 180-4's examples, and a million letters a
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  Sha256 sum;
  for (int i = 0; i < 1000; ++i) sum.update(std::string(1000, 'a'));
  EXPECT_EQ(sum.hex(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(AtomicFile, ReplacesAndLeavesNothingElse) {
  const ScratchFolder folder;
  ASSERT_TRUE(write_file_atomically(folder / "x", "one"));
  ASSERT_TRUE(write_file_atomically(folder / "x", "two"));
  EXPECT_EQ(read_text(folder / "x"), "two");
  EXPECT_EQ(entries(folder.path()), 1);
}

TEST(AtomicFile, AFailureInTheMiddleLeavesTheOldFile) {
  const ScratchFolder folder;
  ASSERT_TRUE(write_file_atomically(folder / "x", "old"));
  auto result = write_file_atomically(folder / "x", [](OutputFile& out) -> Result<void> {
    TRY(out.write("half of the new"));
    return error("the content failed");
  });
  EXPECT_EQ(result.error().message, "the content failed");
  EXPECT_EQ(read_text(folder / "x"), "old");
  EXPECT_EQ(entries(folder.path()), 1);
}

// A limit on the size of files stands in for a full disk: the write comes back short, then fails.
TEST(AtomicFile, AFullDiskIsAnErrorThatNamesThePath) {
  const ScratchFolder folder;
  ASSERT_TRUE(write_file_atomically(folder / "x", "old"));
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{4096, before.rlim_max};
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  auto result = write_file_atomically(folder / "x", std::string(10000, 'a'));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find((folder / "x").string()), std::string::npos) << result.error().message;
  EXPECT_NE(result.error().message.find("cannot write: File too large."), std::string::npos) << result.error().message;
  EXPECT_EQ(read_text(folder / "x"), "old");
  EXPECT_EQ(entries(folder.path()), 1);
}

TEST(AtomicFile, RefusesAFolderThatIsNotThere) {
  const ScratchFolder folder;
  auto result = write_file_atomically(folder / "none/x", "one");
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("cannot create: No such file or directory."), std::string::npos);
}

}  // namespace
}  // namespace candor
