// candor data convert ROWS OUT [--to DIALECT]: the same rows in another format or dialect.
#include <fmt/format.h>

#include "cli/data_verbs.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "data/dialects.h"
#include "data/write_rows.h"

namespace candor::cli {
namespace {

using text::Json;

const std::vector<std::string> kDialects = {"messages", "prompt_completion", "explicit_prompt", "unpaired"};

Result<std::vector<Json>> converted(Json columns, const std::string& to) {
  if (to == "unpaired") return data::as_unpaired(std::move(columns));
  std::vector<Json> rows(1);
  if (to == "messages")
    rows[0] = TRY(data::as_messages(std::move(columns)));
  else if (to == "prompt_completion")
    rows[0] = TRY(data::as_prompt_completion(std::move(columns)));
  else if (to == "explicit_prompt")
    rows[0] = TRY(data::with_explicit_prompt(std::move(columns)));
  else
    rows[0] = std::move(columns);
  return rows;
}

Result<void> run_convert(const std::string& from, const std::string& out, const std::string& to) {
  if (out != "-") TRY(data::check_output(out));
  data::Rows rows = TRY(data::read_rows(from));
  const size_t read = rows.rows.size();
  data::Rows result{rows.name, {}};
  for (data::Row& row : rows.rows) {
    const std::string where = data::place(rows.name, row);
    auto made = converted(std::move(row.columns), to);
    if (!made) return error("{}: {}", where, made.error().message);
    for (Json& columns : *made) result.rows.push_back({std::move(columns), row.number, row.line});
  }
  TRY(put_rows(result, out));
  if (out != "-") fmt::print("{}: {} rows from {}\n", printable(out), result.rows.size(), read);
  return {};
}

}  // namespace

int data_convert(const Words& words) {
  Options options("data convert",
                  "Writes the rows into a new file of another format, or in another dialect; other columns are kept.");
  std::string rows, out, to;
  options.app.add_option("ROWS", rows, kRowsHelp)->required();
  options.app
      .add_option("OUT", out,
                  "the new file: .jsonl, .json or .csv, with or without .gz or .zst; - writes JSON lines to standard "
                  "output")
      ->required();
  options.app
      .add_option("--to", to,
                  "messages (from ShareGPT, prompt and completion, or Alpaca), prompt_completion (the last message is "
                  "the completion), explicit_prompt (what chosen and rejected have in common becomes the prompt), "
                  "unpaired (a preference as two rows with label); left out: the columns stay")
      ->check(CLI::IsMember(kDialects));
  if (const auto over = options.parse(words)) return *over;
  const auto done = run_convert(rows, out, to);
  return done ? static_cast<int>(kOk) : fail(done.error());
}

}  // namespace candor::cli
