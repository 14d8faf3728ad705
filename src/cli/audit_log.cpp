#include "cli/audit_log.h"

#include <fmt/format.h>

namespace candor::cli {

namespace {

// Of a row of this phase; nothing: it is none.
std::optional<std::vector<double>> numbers_of(const files::Json& row, std::string_view phase) {
  if (!row.contains("phase") || row["phase"] != phase || !row.contains("numbers") || !row["numbers"].is_array())
    return std::nullopt;
  std::vector<double> numbers;
  for (const files::Json& number : row["numbers"]) {
    if (!number.is_number()) return std::nullopt;
    numbers.push_back(number.get<double>());
  }
  return numbers;
}

}  // namespace

Result<AuditLog> AuditLog::open(const std::filesystem::path& file, const files::Json& settings) {
  AuditLog log;
  log.journal_ = TRY(EvalJournal::open(file, settings, "audit"));
  return log;
}

Result<std::vector<std::vector<double>>> AuditLog::begin(std::string_view phase, size_t all) {
  std::vector<std::vector<double>> there;
  if (!journal_) return there;
  const std::vector<files::Json>& rows = journal_->rows();
  for (; next_ < rows.size() && there.size() < all; ++next_) {
    std::optional<std::vector<double>> numbers = numbers_of(rows[next_], phase);
    if (!numbers)
      return error("[audit] {} line {} is none of the {} rows of the phase \"{}\". Remove the file to begin anew.",
                   journal_->path().string(), next_ + 2, all, phase);
    there.push_back(std::move(*numbers));
  }
  return there;
}

void AuditLog::write(std::string_view phase, const std::vector<double>& numbers) {
  if (journal_ && written_) written_ = journal_->write({{"phase", phase}, {"numbers", numbers}});
}

}  // namespace candor::cli
