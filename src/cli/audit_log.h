// What `candor audit` has found out so far, phase by phase: an interrupted audit goes on from there with the same
// command, and what it writes in the end is the same, byte for byte.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "cli/eval_journal.h"

namespace candor::cli {

class AuditLog {
 public:
  AuditLog() = default;  // keeps nothing
  // Error: as EvalJournal::open.
  static Result<AuditLog> open(const std::filesystem::path& file, const files::Json& settings);

  // What there is of the next phase, which has `all` rows of numbers. Error: rows that are none of this phase.
  Result<std::vector<std::vector<double>>> begin(std::string_view phase, size_t all);
  void write(std::string_view phase, const std::vector<double>& numbers);
  Result<void> written() const { return written_; }  // the first failure to write
  const EvalJournal* journal() const { return journal_ ? &*journal_ : nullptr; }

 private:
  std::optional<EvalJournal> journal_;
  size_t next_ = 0;  // among the rows that were there
  Result<void> written_;
};

}  // namespace candor::cli
