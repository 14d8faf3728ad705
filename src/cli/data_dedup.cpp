// candor data dedup ROWS OUT: without the rows that repeat an earlier one.
#include <fmt/format.h>

#include <cstdio>

#include "cli/data_verbs.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "data/dedup.h"
#include "data/write_rows.h"

namespace candor::cli {
namespace {

struct DedupWords {
  std::string rows, out;
  data::DedupOptions how;
  bool json = false;
};

// A line that is rewritten, on a terminal and for files that take a while.
std::function<void(int64_t)> progress_of(size_t rows) {
  if (!is_terminal(stderr) || rows < 5000) return {};
  return [rows](int64_t done) {
    if (done % 1000 == 0 || done == static_cast<int64_t>(rows))
      fmt::print(stderr, "\r{} of {} rows{}", done, rows, done == static_cast<int64_t>(rows) ? "\n" : "");
  };
}

text::Json as_json(const DedupWords& words, const data::Deduplicated& result) {
  text::Json pairs = text::Json::array();
  for (const data::DuplicatePair& pair : result.pairs)
    pairs.push_back({{"row", pair.row}, {"like_row", pair.like_row}, {"similarity", pair.similarity}});
  return {{"rows", result.kept.rows.size() + result.pairs.size()},
          {"kept", result.kept.rows.size()},
          {"removed", result.pairs.size()},
          {"threshold", words.how.threshold},
          {"seed", words.how.seed},
          {"miss_probability", result.miss_probability},
          {"pairs", pairs}};
}

Result<void> run_dedup(const DedupWords& words) {
  if (words.out != "-") TRY(data::check_output(words.out));
  const data::Rows rows = TRY(data::read_rows(words.rows));
  const data::Deduplicated result = TRY(data::deduplicate(rows, words.how, progress_of(rows.rows.size())));
  TRY(put_rows(result.kept, words.out));
  std::FILE* to = words.out == "-" ? stderr : stdout;
  if (words.json) {
    fmt::print(to, "{}\n", data::json_line(as_json(words, result)));
    return {};
  }
  for (const data::DuplicatePair& pair : result.pairs)
    fmt::print(to, "row {} repeats row {} ({})\n", pair.row, pair.like_row,
               pair.similarity == 1 ? "equal" : fmt::format("{:.1f}% alike", 100 * pair.similarity));
  fmt::print(to, "{} of {} rows kept\n", result.kept.rows.size(), rows.rows.size());
  return {};
}

}  // namespace

int data_dedup(const Words& words) {
  Options options("data dedup",
                  "Writes a new file without the rows that repeat an earlier one; says which repeats which.");
  DedupWords dedup;
  options.app.add_option("ROWS", dedup.rows, kRowsHelp)->required();
  options.app
      .add_option("OUT", dedup.out, "the new file; - writes JSON lines to standard output, the pairs to standard error")
      ->required();
  options.app
      .add_option("--threshold", dedup.how.threshold,
                  "how alike two rows must be: the share of five-character pieces that they have in common, letters in "
                  "lower case (default 0.9); 1 removes only equal ones")
      ->check(CLI::Range(0.01, 1.0));
  options.app.add_option("--columns", dedup.how.columns, "what is compared; left out: all text that training reads");
  options.app.add_option("--seed", dedup.how.seed, "of the hashes that find pairs (default 0)");
  options.app.add_flag("--json", dedup.json, "one JSON object instead");
  if (const auto over = options.parse(words)) return *over;
  const auto done = run_dedup(dedup);
  return done ? static_cast<int>(kOk) : fail(done.error());
}

}  // namespace candor::cli
