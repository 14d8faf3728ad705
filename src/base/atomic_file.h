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
#include <vector>

#include "base/result.h"
#include "base/sha256.h"

namespace candor {

// A new file that is being written, front to back. Every error names the path, the system's reason, and how many bytes
// the file has got.
class OutputFile {
 public:
  static Result<OutputFile> create(const std::filesystem::path& path);  // error: exists already
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  const std::filesystem::path& path() const { return path_; }
  Result<void> write(std::string_view bytes);
  Result<std::string> finish();  // flushes to the disk, closes, and returns the SHA-256 of what was written, in hex

 private:
  OutputFile(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::filesystem::path path_;
  int descriptor_ = -1;
  uint64_t written_ = 0;
  Sha256 sum_;
};

// Replaces the file at `path`, or leaves it as it was.
Result<void> write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// The same with the content written in parts.
using WriteContent = std::function<Result<void>(OutputFile& out)>;
Result<void> write_file_atomically(const std::filesystem::path& path, const WriteContent& content);

// A file of a folder.
struct NamedContent {
  std::string name;      // a plain file name
  WriteContent content;  // writes it in parts, e.g. [&](OutputFile& out) { return out.write(bytes); }
};
NamedContent named_bytes(std::string name, std::string bytes);

// Writes `files` into `folder`, which is there, and flushes them and the folder. The answer: for each file its SHA-256
// and its name, a line each in the layout of sha256sum.
Result<std::string> write_files(const std::filesystem::path& folder, const std::vector<NamedContent>& files);

// A folder with these files, there whole or not at all: written under another name beside `path` and renamed. The
// folders above are made. What is at `path` is an error or is replaced. On an error nothing is left of the new folder.
enum class IfThere { kRefuse, kReplace };
Result<void> write_folder_atomically(const std::filesystem::path& path, const std::vector<NamedContent>& files,
                                     IfThere if_there);

// Makes a folder and those above it.
Result<void> make_directories(const std::filesystem::path& path);

// Renames, replacing a file; a folder must not be in the way. Both in one folder, which is flushed.
Result<void> rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

// Removes a file or a folder with all that is in it; nothing there is no error.
Result<void> remove_tree(const std::filesystem::path& path);

// What a folder lists reaches the disk.
Result<void> sync_directory(const std::filesystem::path& path);

}  // namespace candor
