// A file to read from, at any place, from any thread.
//
// Read with pread into the caller's buffer, not mapped: a mapped file that somebody shrinks ends in SIGBUS, and
// catching that needs a handler for the whole process, while pread simply comes back short. Nothing of the file ever
// counts as this process's memory, so there are no pages to drop after the weights are packed; what stays in the
// kernel's cache makes the next start fast and is given up under pressure.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"

namespace candor {

class InputFile {
 public:
  // Error: names the path when it is absent, unreadable or no regular file (a pipe or a device could block for ever).
  static Result<InputFile> open(const std::filesystem::path& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  const std::filesystem::path& path() const { return path_; }
  uint64_t size() const { return size_; }  // bytes, when it was opened

  // Reads exactly `count` bytes from byte `offset`. Error: names the path when the file ends before that (it may have
  // been shortened since it was opened) or the disk fails.
  Result<void> read(uint64_t offset, void* out, uint64_t count) const;

 private:
  InputFile(std::filesystem::path path, int descriptor, uint64_t size);
  std::filesystem::path path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

// Whether something is there; false also where it cannot be told.
bool path_exists(const std::filesystem::path& path);

// The whole of a small file. Error: as above, or when it holds more than `max_bytes`.
Result<std::string> read_file(const std::filesystem::path& path, uint64_t max_bytes);

}  // namespace candor
