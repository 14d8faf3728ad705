#include "data/statistics.h"

#include <algorithm>
#include <array>
#include <unordered_set>

#include "data/write_rows.h"

namespace candor::data {
namespace {

using text::Json;
using Counts = std::vector<std::pair<std::string, int64_t>>;

constexpr std::array<const char*, 11> kTrainingColumns = {"system",     "instruction", "input",         "output",
                                                          "text",       "messages",    "conversations", "prompt",
                                                          "completion", "chosen",      "rejected"};
constexpr size_t kLongestNamed = 5;

void count(Counts& counts, std::string_view name) {
  for (auto& [known, number] : counts) {
    if (known != name) continue;
    ++number;
    return;
  }
  counts.emplace_back(name, 1);
}

const char* kind_of(const Json& value) {
  if (value.is_string()) return "text";
  if (value.is_number()) return "number";
  if (value.is_boolean()) return "true/false";
  if (value.is_array()) return "list";
  return value.is_object() ? "object" : "null";
}

void append_strings(const Json& value, std::string& out) {
  if (value.is_string()) {
    if (!out.empty()) out += '\n';
    out += value.get_ref<const std::string&>();
  } else if (value.is_object()) {
    for (const auto& [key, inner] : value.items())
      if (key != "role" && key != "from") append_strings(inner, out);
  } else if (value.is_array()) {
    for (const Json& inner : value) append_strings(inner, out);
  }
}

int64_t characters_in(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

// Messages in a row, of both answers of a preference; their roles are counted.
int64_t count_turns(const Json& columns, Counts& roles) {
  int64_t turns = 0;
  for (const char* name : kTrainingColumns) {
    if (!columns.contains(name) || !columns[name].is_array()) continue;
    for (const Json& message : columns[name]) {
      if (!message.is_object()) continue;
      ++turns;
      const char* key = message.contains("role") ? "role" : "from";
      const Json role = message.value(key, Json());
      count(roles, role.is_string() ? role.get<std::string>() : "none");
    }
  }
  return turns;
}

void count_columns(const Json& row, std::vector<ColumnFacts>& columns) {
  for (const auto& [name, value] : row.items()) {
    auto facts = std::find_if(columns.begin(), columns.end(), [&](const ColumnFacts& one) { return one.name == name; });
    if (facts == columns.end()) facts = columns.insert(columns.end(), ColumnFacts{name, 0, {}});
    ++facts->rows;
    count(facts->kinds, kind_of(value));
  }
}

}  // namespace

std::string training_text(const Json& columns) {
  std::string text;
  for (const char* name : kTrainingColumns)
    if (columns.contains(name)) append_strings(columns[name], text);
  if (columns.contains("input_ids")) append_strings(json_line(columns["input_ids"]), text);
  return text;
}

Spread spread_of(std::vector<int64_t> values) {
  Spread spread;
  if (values.empty()) return spread;
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  spread.count = static_cast<int64_t>(n);
  for (const int64_t value : values) spread.total += value;
  spread.mean = static_cast<double>(spread.total) / static_cast<double>(n);
  spread.median = values[(n + 1) / 2 - 1];
  spread.p95 = values[(95 * n + 99) / 100 - 1];
  spread.max = values.back();
  return spread;
}

Result<DatasetFacts> dataset_facts(const Rows& rows, const TextReader* reader) {
  DatasetFacts facts;
  facts.rows = static_cast<int64_t>(rows.rows.size());
  facts.type = TRY(type_of(rows));
  std::vector<int64_t> characters, tokens, turns;
  std::unordered_set<std::string> seen;
  for (const Row& row : rows.rows) {
    count_columns(row.columns, facts.columns);
    count(facts.dialects, dialect_of(row.columns));
    LongRow length{row.number, characters_in(training_text(row.columns)), {}};
    characters.push_back(length.characters);
    if (reader != nullptr) {
      const auto counted = count_tokens(row.columns, facts.type, *reader);
      if (counted) {
        length.tokens = *counted;
        tokens.push_back(*counted);
      } else {
        ++facts.not_tokenized;
      }
    }
    if (const int64_t messages = count_turns(row.columns, facts.roles); messages > 0) turns.push_back(messages);
    if (!seen.insert(json_line(row.columns)).second) ++facts.duplicates;
    facts.longest.push_back(length);
  }
  facts.characters = spread_of(std::move(characters));
  if (reader != nullptr) facts.tokens = spread_of(std::move(tokens));
  if (!turns.empty()) facts.turns = spread_of(std::move(turns));
  std::stable_sort(facts.longest.begin(), facts.longest.end(), [](const LongRow& a, const LongRow& b) {
    return a.tokens.value_or(0) != b.tokens.value_or(0) ? a.tokens.value_or(0) > b.tokens.value_or(0)
                                                        : a.characters > b.characters;
  });
  facts.longest.resize(std::min(facts.longest.size(), kLongestNamed));
  return facts;
}

}  // namespace candor::data
