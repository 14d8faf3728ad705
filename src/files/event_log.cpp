#include "files/event_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "base/atomic_file.h"
#include "base/input_file.h"
#include "files/event.pb.h"

namespace candor::files {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr uint64_t kHeadBytes = 12, kTailBytes = 4;
constexpr uint64_t kLongestRecord = 1 << 24;  // a step's scalars take a few kilobytes

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c & 1) ? (c >> 1) ^ 0x82f63b78u : c >> 1;
    table[i] = c;
  }
  return table;
}

uint32_t masked(uint32_t c) {
  return ((c >> 15) | (c << 17)) + 0xa282ead8u;
}

template <typename T>
std::string little_endian(T value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(T); ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

template <typename T>
T from_little_endian(const char* bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return value;
}

std::string record(const event::Event& event) {
  const std::string data = event.SerializeAsString();
  const std::string length = little_endian<uint64_t>(data.size());
  return length + little_endian(masked(crc32c(length))) + data + little_endian(masked(crc32c(data)));
}

Error system_failure(const char* act, const fs::path& path, int code) {
  return error("[{}] cannot {}: {}.", path.string(), act, std::generic_category().message(code));
}

// The whole record that begins at `at`, and where it ends; none where the file ends or is damaged from here on.
struct Record {
  event::Event event;
  uint64_t end = 0;
};
Result<std::optional<Record>> read_record(const InputFile& file, uint64_t at) {
  char head[kHeadBytes];
  if (at + kHeadBytes + kTailBytes > file.size()) return std::optional<Record>();
  TRY(file.read(at, head, sizeof head));
  const auto length = from_little_endian<uint64_t>(head);
  if (from_little_endian<uint32_t>(head + 8) != masked(crc32c({head, 8})) || length > kLongestRecord ||
      at + kHeadBytes + length + kTailBytes > file.size())
    return std::optional<Record>();
  std::string body(length + kTailBytes, '\0');
  TRY(file.read(at + kHeadBytes, body.data(), body.size()));
  const std::string_view data = std::string_view(body).substr(0, length);
  Record record;
  if (from_little_endian<uint32_t>(body.data() + length) != masked(crc32c(data)) ||
      !record.event.ParseFromArray(data.data(), static_cast<int>(length)))
    return std::optional<Record>();
  record.end = at + kHeadBytes + length + kTailBytes;
  return std::optional<Record>(std::move(record));
}

// Calls each(record) for the whole records of a file, until it returns false.
template <typename Each>
Result<void> each_record(const fs::path& path, Each each) {
  const InputFile file = TRY(InputFile::open(path));
  uint64_t at = 0;
  while (true) {
    const std::optional<Record> record = TRY(read_record(file, at));
    if (!record || !each(*record)) return {};
    at = record->end;
  }
}

// The event file that a folder holds: the first by name.
std::optional<fs::path> event_file(const fs::path& folder) {
  std::optional<fs::path> found;
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, failure))
    if (entry.path().filename().string().starts_with(kPrefix) && (!found || entry.path() < *found))
      found = entry.path();
  return found;
}

}  // namespace

Result<void> remove_events(const fs::path& folder) {
  while (const auto path = event_file(folder)) TRY(remove_tree(*path));
  return {};
}

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = crc_table();
  uint32_t c = 0xffffffffu;
  for (const char byte : bytes) c = kTable[(c ^ static_cast<unsigned char>(byte)) & 0xff] ^ (c >> 8);
  return ~c;
}

EventLog::EventLog(EventLog&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

EventLog& EventLog::operator=(EventLog&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

EventLog::~EventLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<EventLog> EventLog::resume(const fs::path& folder, int64_t last_step, double now) {
  const fs::path path =
      event_file(folder).value_or(folder / fmt::format("{}{:010}.candor", kPrefix, static_cast<int64_t>(now)));
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor < 0) return system_failure("open for writing", path, errno);
  EventLog log(path, descriptor);
  uint64_t kept = 0;
  TRY(each_record(path, [&](const Record& record) {
    const bool wanted = record.event.step() <= last_step;
    if (wanted) kept = record.end;
    return wanted;
  }));
  if (::ftruncate(descriptor, static_cast<off_t>(kept)) != 0) return system_failure("shorten", path, errno);
  if (kept == 0) {
    event::Event version;
    version.set_wall_time(now);
    version.set_file_version("brain.Event:2");
    const std::string bytes = record(version);
    if (::write(descriptor, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      return system_failure("write", path, errno);
  }
  return log;
}

Result<void> EventLog::write(const ScalarEvent& scalars) {
  event::Event event;
  event.set_wall_time(scalars.wall_time);
  event.set_step(scalars.step);
  for (const Scalar& scalar : scalars.scalars) {
    event::Value* value = event.mutable_summary()->add_value();
    value->set_tag(scalar.name);
    value->set_simple_value(static_cast<float>(scalar.value));
  }
  const std::string bytes = record(event);
  const off_t end = ::lseek(descriptor_, 0, SEEK_END);
  if (::write(descriptor_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    const int code = errno;
    if (end < 0 || ::ftruncate(descriptor_, end) != 0) return system_failure("write or take back", path_, code);
    return system_failure("write", path_, code);
  }
  return {};
}

Result<std::vector<ScalarEvent>> read_events(const fs::path& path) {
  std::vector<ScalarEvent> events;
  TRY(each_record(path, [&](const Record& record) {
    if (record.event.summary().value_size() == 0) return true;
    ScalarEvent& event = events.emplace_back();
    event.wall_time = record.event.wall_time();
    event.step = record.event.step();
    for (const event::Value& value : record.event.summary().value())
      event.scalars.push_back({value.tag(), static_cast<double>(value.simple_value())});
    return true;
  }));
  return events;
}

}  // namespace candor::files
