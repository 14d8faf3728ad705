// candor data stats ROWS: what a file of rows holds, in numbers.
#include <fmt/format.h>

#include "cli/data_verbs.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "data/statistics.h"
#include "data/write_rows.h"

namespace candor::cli {
namespace {

using data::DatasetFacts;
using data::Spread;
using text::Json;

Json as_json(const Spread& spread) {
  return {{"count", spread.count}, {"mean", spread.mean}, {"median", spread.median},
          {"p95", spread.p95},     {"max", spread.max},   {"total", spread.total}};
}

Json as_json(const std::vector<std::pair<std::string, int64_t>>& counts) {
  Json out = Json::object();
  for (const auto& [name, number] : counts) out[name] = number;
  return out;
}

Json as_json(const std::string& file, const DatasetFacts& facts) {
  Json columns = Json::object(), longest = Json::array();
  for (const data::ColumnFacts& column : facts.columns)
    columns[column.name] = {{"rows", column.rows}, {"kinds", as_json(column.kinds)}};
  for (const data::LongRow& row : facts.longest) {
    Json one = {{"row", row.row}, {"characters", row.characters}};
    if (row.tokens) one["tokens"] = *row.tokens;
    longest.push_back(std::move(one));
  }
  Json out = {{"file", printable(file)},
              {"rows", facts.rows},
              {"type", data::name_of(facts.type)},
              {"dialects", as_json(facts.dialects)},
              {"columns", columns},
              {"characters", as_json(facts.characters)}};
  if (facts.tokens) {
    out["tokens"] = as_json(*facts.tokens);
    out["not_tokenized"] = facts.not_tokenized;
  }
  if (facts.turns) {
    out["turns"] = as_json(*facts.turns);
    out["roles"] = as_json(facts.roles);
  }
  out["duplicates"] = facts.duplicates;
  out["longest"] = longest;
  return out;
}

std::string listed(const std::vector<std::pair<std::string, int64_t>>& counts) {
  std::string out;
  for (const auto& [name, number] : counts)
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", printable(name), number);
  return out;
}

void print_spread(const char* name, const Spread& spread) {
  fmt::print("{:<12}mean {:.1f}, median {}, p95 {}, max {}, total {}\n", name, spread.mean, spread.median, spread.p95,
             spread.max, spread.total);
}

void print_facts(const std::string& file, const DatasetFacts& facts) {
  fmt::print("{}: {} rows, type {}\n", printable(file), facts.rows, data::name_of(facts.type));
  fmt::print("{:<12}{}\n", "dialects", listed(facts.dialects));
  print_spread("characters", facts.characters);
  if (facts.tokens) print_spread("tokens", *facts.tokens);
  if (facts.not_tokenized > 0)
    fmt::print("{:<12}{} rows could not be tokenized; candor data validate says why\n", "", facts.not_tokenized);
  if (facts.turns) print_spread("turns", *facts.turns);
  if (!facts.roles.empty()) fmt::print("{:<12}{}\n", "roles", listed(facts.roles));
  fmt::print("{:<12}{} rows equal an earlier one\n", "duplicates", facts.duplicates);
  fmt::print("{:<12}", "longest");
  for (size_t i = 0; i < facts.longest.size(); ++i) {
    const data::LongRow& row = facts.longest[i];
    fmt::print("{}row {} ({} {})", i == 0 ? "" : ", ", row.row, row.tokens.value_or(row.characters),
               row.tokens ? "tokens" : "characters");
  }
  fmt::print("\ncolumns\n");
  for (const data::ColumnFacts& column : facts.columns)
    fmt::print("  {:<20}in {} rows: {}\n", one_line(column.name, 40), column.rows, listed(column.kinds));
}

Result<void> run_stats(const std::string& path, const ModelOptions& model) {
  const data::Rows rows = TRY(data::read_rows(path));
  std::optional<files::ModelFiles> files;
  if (!model.model.empty()) files = TRY(open_text_side(model.model));
  std::optional<data::TextReader> reader;
  if (files) reader.emplace(reader_of(*files));
  const DatasetFacts facts = TRY(data::dataset_facts(rows, reader ? &*reader : nullptr));
  if (model.json)
    fmt::print("{}\n", data::json_line(as_json(rows.name, facts)));
  else
    print_facts(rows.name, facts);
  return {};
}

}  // namespace

int data_stats(const Words& words) {
  Options options("data stats", "Says what a file of rows holds: type, columns, lengths, turns, duplicates.");
  std::string rows;
  ModelOptions model;
  options.app.add_option("ROWS", rows, kRowsHelp)->required();
  options.app.add_option("--model", model.model, "a model whose tokens are counted, as training would make them");
  model.add_json(options.app, "one JSON object instead");
  if (const auto over = options.parse(words)) return *over;
  const auto done = run_stats(rows, model);
  return done ? static_cast<int>(kOk) : fail(done.error());
}

}  // namespace candor::cli
