// candor data validate ROWS: every bad row, not only the first.
#include <fmt/format.h>

#include <algorithm>

#include "cli/data_verbs.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "data/dataset_type.h"
#include "data/write_rows.h"

namespace candor::cli {
namespace {

using text::Json;

const std::vector<std::string> kTypes = {
    "language_modeling", "prompt_only", "prompt_completion", "preference", "unpaired_preference", "tokens", "alpaca"};

struct ValidateOptions {
  std::string rows, type;
  ModelOptions model;
  int64_t max_length = 0;
};

struct BadRow {
  int64_t row = 0, line = 0;  // 0: the file as a whole
  std::string what;
};

struct Verdict {
  std::string name;
  int64_t rows = 0;
  std::optional<data::DatasetType> type;
  std::vector<BadRow> bad;  // in the file's order; a row may stand there more than once
  int64_t bad_rows = 0;
};

// What only the model can say about a row that is well by itself.
std::optional<std::string> model_fault(const Json& columns, data::DatasetType type, const files::ModelFiles& model,
                                       int64_t max_length) {
  const auto tokens = data::count_tokens(columns, type, reader_of(model));
  if (!tokens) return tokens.error().message;
  if (*tokens <= max_length) return std::nullopt;
  return fmt::format("{} tokens are more than {} of {}.", *tokens,
                     max_length == model.config.max_positions ? "the context" : "max_length", max_length);
}

Result<Verdict> examine(const ValidateOptions& options) {
  const std::filesystem::path path = options.rows;
  const data::FileKind kind = TRY(data::file_kind(path));
  std::optional<files::ModelFiles> model;
  if (!options.model.model.empty()) model = TRY(open_text_side(options.model.model));
  const int64_t max_length = options.max_length > 0 ? options.max_length : model ? model->config.max_positions : 0;
  const std::string name = path == "-" ? "standard input" : path.string();
  const data::ReadRows read = data::read_every_row(TRY(data::read_bytes(path)), name, kind.format);
  Verdict verdict{name, static_cast<int64_t>(read.rows.rows.size()), {}, {}, 0};
  for (const data::RowFault& fault : read.faults) {
    verdict.bad.push_back({fault.number, fault.line, fault.what});
    verdict.rows += fault.number > 0 ? 1 : 0;
  }
  verdict.bad_rows = static_cast<int64_t>(read.faults.size());
  if (read.rows.rows.empty()) return verdict;
  verdict.type = options.type.empty() ? TRY(data::type_of(read.rows)) : TRY(data::dataset_type(options.type));
  for (const data::Row& row : read.rows.rows) {
    std::vector<std::string> faults = data::row_faults(row.columns, *verdict.type);
    if (faults.empty() && model) {
      if (auto fault = model_fault(row.columns, *verdict.type, *model, max_length)) faults.push_back(std::move(*fault));
    }
    verdict.bad_rows += faults.empty() ? 0 : 1;
    for (std::string& fault : faults)
      verdict.bad.push_back({row.number, row.line, data::place(name, row) + ": " + std::move(fault)});
  }
  std::stable_sort(verdict.bad.begin(), verdict.bad.end(),
                   [](const BadRow& a, const BadRow& b) { return a.row < b.row; });
  return verdict;
}

void print_verdict(const Verdict& verdict, bool json) {
  const std::string type = verdict.type ? std::string(data::name_of(*verdict.type)) : "unknown";
  if (json) {
    Json bad = Json::array();
    for (const BadRow& row : verdict.bad) bad.push_back({{"row", row.row}, {"line", row.line}, {"fault", row.what}});
    const Json out = {{"file", printable(verdict.name)},
                      {"rows", verdict.rows},
                      {"type", type},
                      {"bad_rows", verdict.bad_rows},
                      {"faults", bad}};
    fmt::print("{}\n", data::json_line(out));
    return;
  }
  for (const BadRow& row : verdict.bad) fmt::print("{}\n", one_line(row.what, 400));
  fmt::print("{}: {} rows, type {}: {}\n", printable(verdict.name), verdict.rows, type,
             verdict.bad_rows == 0 ? "all well" : fmt::format("{} bad", verdict.bad_rows));
}

}  // namespace

int data_validate(const Words& words) {
  Options options("data validate",
                  "Checks every row of a file and lists the bad ones; the exit code is 1 if there is any.");
  ValidateOptions validate;
  options.app.add_option("ROWS", validate.rows, kRowsHelp)->required();
  options.app.add_option("--type", validate.type, "what every row must be; left out: the type of most rows")
      ->check(CLI::IsMember(kTypes));
  options.app.add_option("--model", validate.model.model,
                         "a model whose tokenizer and chat template must take every row");
  options.app
      .add_option("--max_length", validate.max_length,
                  "tokens that a row may have with --model; 0: the model's context")
      ->check(CLI::NonNegativeNumber);
  validate.model.add_json(options.app, "one JSON object instead");
  if (const auto over = options.parse(words)) return *over;
  const auto verdict = examine(validate);
  if (!verdict) return fail(verdict.error());
  print_verdict(*verdict, validate.model.json);
  return verdict->bad_rows == 0 ? kOk : kFailed;
}

}  // namespace candor::cli
