#include "base/folder_lock.h"

#include <gtest/gtest.h>

#include "support/scratch.h"

namespace candor {
namespace {

TEST(FolderLock, OnlyOneHoldsAFolder) {
  const testing::ScratchFolder folder;
  EXPECT_FALSE(is_locked(folder.path()));
  {
    const auto first = FolderLock::try_lock(folder.path());
    ASSERT_TRUE(first && *first);
    EXPECT_TRUE(is_locked(folder.path()));
    const auto second = FolderLock::try_lock(folder.path());
    ASSERT_TRUE(second.has_value());
    EXPECT_FALSE(second->has_value());
  }
  EXPECT_FALSE(is_locked(folder.path()));
}

TEST(FolderLock, AFolderThatIsNotThereIsNamed) {
  const testing::ScratchFolder folder;
  const auto lock = FolderLock::try_lock(folder / "absent");
  ASSERT_FALSE(lock);
  EXPECT_EQ(lock.error().message,
            fmt::format("[{}] cannot open the folder: No such file or directory.", (folder / "absent").string()));
  EXPECT_FALSE(is_locked(folder / "absent"));
}

}  // namespace
}  // namespace candor
