// What `candor eval --output FILE` (or `candor audit`) has found out so far, in FILE.partial: what was interrupted goes
// on from there with the same command, and FILE itself is there once it is complete.
//
// The first line holds the settings, each further one an answer or a choice's log-probability, in order.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "files/run_log.h"

namespace candor::cli {

class EvalJournal {
 public:
  // Begins FILE.partial or goes on with it; a torn last line is cut off. Error: other settings (names the first that
  // differs), a row that is none.
  static Result<EvalJournal> open(const std::filesystem::path& file, const files::Json& settings,
                                  std::string_view verb = "eval");

  const std::filesystem::path& path() const { return path_; }
  const std::vector<files::Json>& rows() const { return rows_; }  // that were there; objects
  Result<void> write(const files::Json& row) { return lines_->write(row); }
  // Once FILE is written.
  void remove() const;

 private:
  std::filesystem::path path_;
  std::vector<files::Json> rows_;
  std::optional<files::JsonLines> lines_;
};

}  // namespace candor::cli
