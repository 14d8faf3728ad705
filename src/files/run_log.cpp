#include "files/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/atomic_file.h"
#include "base/input_file.h"

namespace candor::files {

namespace {

namespace fs = std::filesystem;

// A line of a run's own log; a longer one is no log of ours.
constexpr size_t kLongestLine = size_t{1} << 28;

Error system_failure(const char* act, const fs::path& path, int code) {
  return error("[{}] cannot {}: {}.", path.string(), act, std::generic_category().message(code));
}

// Bytes up to and with the last row whose step is at most `last_step`.
Result<uint64_t> kept_bytes(const fs::path& path, int64_t last_step) {
  const InputFile file = TRY(InputFile::open(path));
  uint64_t read = 0, line_start = 0, kept = 0;
  int64_t line_number = 0;
  std::string line, part;
  while (read < file.size()) {
    part.resize(std::min<uint64_t>(file.size() - read, 1 << 20));
    TRY(file.read(read, part.data(), part.size()));
    read += part.size();
    line += part;
    size_t begin = 0;
    for (size_t end; (end = line.find('\n', begin)) != std::string::npos; begin = end + 1) {
      ++line_number;
      const auto place = fmt::format("{}, line {}", path.string(), line_number);
      const Json row = TRY(parse_json(std::string_view(line).substr(begin, end - begin), place));
      if (!row.is_object() || !row.contains("step") || !row["step"].is_number_integer()) {
        return error("[{}] has no whole number \"step\"; the file was not written by a run, or was edited.", place);
      }
      line_start += end + 1 - begin;
      if (row["step"].get<int64_t>() <= last_step) kept = line_start;
    }
    line.erase(0, begin);
    if (line.size() > kLongestLine) return error("[{}] line {} is too long for a log.", path.string(), line_number + 1);
  }
  return kept;
}

}  // namespace

JsonLines::JsonLines(JsonLines&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

JsonLines& JsonLines::operator=(JsonLines&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

JsonLines::~JsonLines() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<JsonLines> JsonLines::open(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor < 0) return system_failure("open for writing", path, errno);
  return JsonLines(path, descriptor);
}

Result<JsonLines> JsonLines::resume(const fs::path& path, int64_t last_step) {
  JsonLines log = TRY(open(path));
  const uint64_t bytes = TRY(kept_bytes(path, last_step));
  if (::ftruncate(log.descriptor_, static_cast<off_t>(bytes)) != 0) return system_failure("shorten", path, errno);
  return log;
}

Result<void> JsonLines::write(const Json& row) {
  const std::string line = json_line(row) + "\n";
  const off_t end = ::lseek(descriptor_, 0, SEEK_END);
  size_t written = 0;
  while (written < line.size()) {
    const ssize_t done = ::write(descriptor_, line.data() + written, line.size() - written);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) {
      const int code = errno;
      if (end < 0 || ::ftruncate(descriptor_, end) != 0) return system_failure("write or take back", path_, code);
      return system_failure("write", path_, code);
    }
    written += static_cast<size_t>(done);
  }
  return {};
}

Result<void> JsonLines::sync() {
  if (::fsync(descriptor_) != 0) return system_failure("write", path_, errno);
  return {};
}

std::string json_line(const Json& row) {
  return row.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<void> write_json_atomically(const fs::path& path, const Json& json) {
  return write_file_atomically(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace candor::files
