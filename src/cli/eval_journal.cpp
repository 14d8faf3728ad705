#include "cli/eval_journal.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/input_file.h"
#include "cli/resumed_rows.h"

namespace candor::cli {

namespace {

namespace fs = std::filesystem;

// The first line: settings; the others: rows.
Result<std::vector<files::Json>> read_lines(std::string_view verb, const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return error("[{}] {} cannot be read: {}.", verb, path.string(), std::strerror(errno));
  std::vector<files::Json> lines;
  for (std::string line; std::getline(in, line);) {
    const std::string where = fmt::format("{} line {}", path.string(), lines.size() + 1);
    lines.push_back(TRY(files::parse_json(line, where)));
    if (!lines.back().is_object())
      return error("[{}] {} is no JSON object. Remove the file to begin anew.", verb, where);
  }
  return lines;
}

}  // namespace

Result<EvalJournal> EvalJournal::open(const fs::path& file, const files::Json& settings, std::string_view verb) {
  EvalJournal journal;
  journal.path_ = file;
  journal.path_ += ".partial";
  const bool there = path_exists(journal.path_);
  if (there) {
    TRY(cut_torn_line(verb, journal.path_));
    journal.rows_ = TRY(read_lines(verb, journal.path_));
  }
  const bool begun = !journal.rows_.empty();
  if (begun) {
    TRY(compare_settings(verb, journal.path_, journal.rows_.front(), settings,
                         "Give the same to go on, or remove the file to begin anew."));
    journal.rows_.erase(journal.rows_.begin());
  }
  journal.lines_ = TRY(files::JsonLines::open(journal.path_));
  if (!begun) TRY(journal.write(settings));
  return journal;
}

void EvalJournal::remove() const {
  std::error_code code;
  fs::remove(path_, code);
}

}  // namespace candor::cli
