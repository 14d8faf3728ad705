// What a run writes while it goes: one JSON object a line (metrics.jsonl, completions.jsonl), and summary.json.
//
// Rows carry their "step". A run that resumes from step N first cuts off every row of a later step, and the torn last
// line that a killed process may leave, so that the file ends up as if the run had never stopped.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"
#include "files/json_file.h"

namespace candor::files {

class JsonLines {
 public:
  // Opens for appending, creating the file where it is absent.
  static Result<JsonLines> open(const std::filesystem::path& path);

  // The same, cut after the last row whose "step" is at most `last_step`. Error: a row before that end is no JSON
  // object with a whole number "step" (names its line).
  static Result<JsonLines> resume(const std::filesystem::path& path, int64_t last_step);

  JsonLines(JsonLines&& other) noexcept;
  JsonLines& operator=(JsonLines&& other) noexcept;
  ~JsonLines();

  // Appends one line in one system call, so that a reader sees whole rows. NaN and infinity become null. Error: names
  // the path (a full disk); what was written of the line is taken back.
  Result<void> write(const Json& row);

  // Rows so far reach the disk. Call before a checkpoint that relies on them.
  Result<void> sync();

 private:
  JsonLines(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::filesystem::path path_;
  int descriptor_ = -1;
};

// One line of JSON, text that is no UTF-8 made harmless (U+FFFD).
std::string json_line(const Json& row);

// Replaces a file such as summary.json whole, indented.
Result<void> write_json_atomically(const std::filesystem::path& path, const Json& json);

}  // namespace candor::files
