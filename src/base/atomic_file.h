// Files that are there whole or not at all, also after a crash or a full disk.
//
// A file is written under another name in the same folder, flushed to the disk, renamed over the old one, and the
// folder is flushed too: without that last step the rename itself may be lost when the machine stops.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/sha256.h"

namespace candor {

// A new file that is being written, front to back. Every error names the path and the system's reason.
class OutputFile {
 public:
  static Result<OutputFile> create(const std::filesystem::path& path);  // error: exists already
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  Result<void> write(std::string_view bytes);
  Result<std::string> finish();  // flushes to the disk, closes, and returns the SHA-256 of what was written, in hex

 private:
  OutputFile(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::filesystem::path path_;
  int descriptor_ = -1;
  Sha256 sum_;
};

// Replaces the file at `path`, or leaves it as it was.
Result<void> write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// The same with the content written in parts.
using WriteContent = std::function<Result<void>(OutputFile& out)>;
Result<void> write_file_atomically(const std::filesystem::path& path, const WriteContent& content);

// Makes a folder and those above it.
Result<void> make_directories(const std::filesystem::path& path);

// Renames, replacing a file; a folder must not be in the way. Both in one folder, which is flushed.
Result<void> rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

// Removes a file or a folder with all that is in it; nothing there is no error.
Result<void> remove_tree(const std::filesystem::path& path);

// What a folder lists reaches the disk.
Result<void> sync_directory(const std::filesystem::path& path);

}  // namespace candor
