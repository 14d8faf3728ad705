#include "base/atomic_file.h"

#include <gtest/gtest.h>

#include "support/full_disk.h"
#include "support/oracle.h"
#include "support/scratch.h"

namespace candor {
namespace {

using candor::testing::FullDisk;
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

TEST(AtomicFile, AFullDiskIsAnErrorThatNamesThePath) {
  const ScratchFolder folder;
  ASSERT_TRUE(write_file_atomically(folder / "x", "old"));
  const auto result = [&] {
    const FullDisk full(4096);
    return write_file_atomically(folder / "x", std::string(10000, 'a'));
  }();
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find((folder / "x").string()), std::string::npos) << result.error().message;
  EXPECT_NE(result.error().message.find("cannot write: File too large, after 4096 bytes."), std::string::npos)
      << result.error().message;
  EXPECT_EQ(read_text(folder / "x"), "old");
  EXPECT_EQ(entries(folder.path()), 1);
}

TEST(AtomicFile, RefusesAFolderThatIsNotThere) {
  const ScratchFolder folder;
  auto result = write_file_atomically(folder / "none/x", "one");
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("cannot create: No such file or directory."), std::string::npos);
}

TEST(AtomicFolder, IsThereWholeOrNotAtAll) {
  const ScratchFolder folder;
  const std::vector<NamedContent> files = {named_bytes("a", "one"), named_bytes("b", std::string(10000, 'b'))};
  {
    const FullDisk full(4096);
    const auto result = write_folder_atomically(folder / "deep/new", files, IfThere::kRefuse);
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message.find("/b] cannot write: File too large, after 4096 bytes."), std::string::npos);
    EXPECT_EQ(entries(folder / "deep"), 0);
  }
  ASSERT_TRUE(write_folder_atomically(folder / "deep/new/", files, IfThere::kRefuse));
  EXPECT_EQ(read_text(folder / "deep/new/a"), "one");
  EXPECT_EQ(entries(folder / "deep"), 1);
}

TEST(AtomicFolder, ReplacesOnlyWhereItMay) {
  const ScratchFolder folder;
  ASSERT_TRUE(write_folder_atomically(folder / "x", {named_bytes("a", "old")}, IfThere::kReplace));
  const auto refused = write_folder_atomically(folder / "x", {named_bytes("b", "new")}, IfThere::kRefuse);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("is there already."), std::string::npos);
  EXPECT_EQ(read_text(folder / "x/a"), "old");
  const auto failed = write_folder_atomically(
      folder / "x", {{"b", [](OutputFile&) -> Result<void> { return error("no content"); }}}, IfThere::kReplace);
  EXPECT_EQ(failed.error().message, "no content");
  EXPECT_EQ(read_text(folder / "x/a"), "old");
  ASSERT_TRUE(write_folder_atomically(folder / "x", {named_bytes("b", "new")}, IfThere::kReplace));
  EXPECT_EQ(read_text(folder / "x/b"), "new");
  EXPECT_FALSE(std::filesystem::exists(folder / "x/a"));
  EXPECT_EQ(entries(folder.path()), 1);
}

}  // namespace
}  // namespace candor
