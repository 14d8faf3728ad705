// Who works in a folder: a lock on the folder itself, which the system drops when its holder ends, however it ends.
#pragma once

#include <filesystem>
#include <optional>

#include "base/result.h"

namespace candor {

class FolderLock {
 public:
  // Takes the lock, or says at once that another process (or another FolderLock) holds it: none. Error: the folder
  // cannot be opened.
  static Result<std::optional<FolderLock>> try_lock(const std::filesystem::path& folder);
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

// Whether somebody holds it now. False where the folder cannot be opened.
bool is_locked(const std::filesystem::path& folder);

}  // namespace candor
