// A run's curves as TensorBoard reads them: one events.out.tfevents.* file in the run's folder.
//
// The file is a row of records: length (uint64), masked CRC-32C of the length, the bytes of one Event (event.proto),
// masked CRC-32C of those. All little-endian; masked(c) = rotate_right(c, 15) + 0xa282ead8. The first record names the
// version, "brain.Event:2". A run that resumes keeps the records up to its step and drops the rest, as metrics.jsonl
// does, so that no curve shows a step twice.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace candor::files {

struct Scalar {
  std::string name;  // "train/loss"
  double value = 0;  // stored as float32
};

struct ScalarEvent {
  double wall_time = 0;  // seconds since 1970
  int64_t step = 0;
  std::vector<Scalar> scalars;
};

class EventLog {
 public:
  // Opens the folder's event file cut after its last whole record of step <= last_step, or begins one. `now` (seconds
  // since 1970) goes into a new file's name and first record. Error: names the path.
  static Result<EventLog> resume(const std::filesystem::path& folder, int64_t last_step, double now);

  EventLog(EventLog&& other) noexcept;
  EventLog& operator=(EventLog&& other) noexcept;
  ~EventLog();

  // Appends one record in one system call. Error: names the path (a full disk).
  Result<void> write(const ScalarEvent& event);

 private:
  EventLog(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::filesystem::path path_;
  int descriptor_ = -1;
};

// The scalars of an event file, in its order; a torn or damaged record ends the reading, as in TensorBoard. Error: the
// file cannot be read.
Result<std::vector<ScalarEvent>> read_events(const std::filesystem::path& path);

// Removes the folder's event files.
Result<void> remove_events(const std::filesystem::path& folder);

// CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected), as the format wants it.
uint32_t crc32c(std::string_view bytes);

}  // namespace candor::files
