// The index of runs: where they lie and what they are, in one SQLite file for a user, so that `candor runs` finds them
// whatever folder they were started from. What a run did stands in its own folder; the index only points there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

struct sqlite3;

namespace candor::files {

struct RunEntry {
  int64_t id = 0;     // as the index numbers them, never used twice
  std::string path;   // absolute
  std::string verb;   // "grpo"
  std::string model;  // as the recipe names it
  std::string dataset;
  std::string started;  // "2026-11-22T05:10:00Z"
};

class RunIndex {
 public:
  // Opens the index, creating it and its folder. Errors: the folder cannot be made, the file is no index.
  static Result<RunIndex> open(const std::filesystem::path& path);

  // Adds a run, or brings the entry of its path up to date; `id` is not read.
  Result<void> record(const RunEntry& entry);
  Result<std::vector<RunEntry>> list();  // oldest first
  Result<void> forget(int64_t id);

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  RunIndex(std::filesystem::path path, sqlite3* database) : path_(std::move(path)), database_(database) {}
  Error failure(const char* act) const;

  std::filesystem::path path_;
  std::unique_ptr<sqlite3, Close> database_;
};

// $CANDOR_DATA/runs.sqlite, or below $XDG_DATA_HOME/candor or ~/.local/share/candor; none where no home is known.
std::optional<std::filesystem::path> default_run_index();

}  // namespace candor::files
