#include "base/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace candor {

InputFile::InputFile(std::filesystem::path path, int descriptor, uint64_t size)
    : path_(std::move(path)), descriptor_(descriptor), size_(size) {}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<InputFile> InputFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a named pipe must not wait for its writer.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return error("[{}] cannot open: {}.", path.string(), std::generic_category().message(errno));
  struct stat status {};
  InputFile file(path, descriptor, 0);
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    return error("[{}] is not a regular file.", path.string());
  }
  file.size_ = static_cast<uint64_t>(status.st_size);
  return file;
}

Result<void> InputFile::read(uint64_t offset, void* out, uint64_t count) const {
  if (offset > size_ || count > size_ - offset) {
    return error("[{}] ends at byte {}: cannot read {} bytes from byte {}.", path_.string(), size_, count, offset);
  }
  constexpr uint64_t kLargestRead = uint64_t{1} << 30;
  auto* to = static_cast<char*>(out);
  while (count > 0) {
    const ssize_t got = ::pread(descriptor_, to, std::min(count, kLargestRead), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return error("[{}] cannot read: {}.", path_.string(), std::generic_category().message(errno));
    if (got == 0) {
      return error("[{}] has become shorter while it was read: it had {} bytes and ends at byte {} now.",
                   path_.string(), size_, offset);
    }
    to += got;
    offset += static_cast<uint64_t>(got);
    count -= static_cast<uint64_t>(got);
  }
  return {};
}

bool path_exists(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

Result<std::string> read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  const InputFile file = TRY(InputFile::open(path));
  if (file.size() > max_bytes) {
    return error("[{}] has {} bytes; at most {} are expected here.", path.string(), file.size(), max_bytes);
  }
  std::string text(file.size(), '\0');
  TRY(file.read(0, text.data(), text.size()));
  return text;
}

}  // namespace candor
