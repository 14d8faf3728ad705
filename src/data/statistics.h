// What a dataset holds, in numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/dataset_type.h"
#include "data/rows.h"

namespace candor::data {

// Of a list of lengths; p95 and median are nearest-rank: a value of the list. All 0 for an empty list.
struct Spread {
  int64_t count = 0, total = 0, median = 0, p95 = 0, max = 0;
  double mean = 0;
};
Spread spread_of(std::vector<int64_t> values);

// A column, and in how many rows it holds what.
struct ColumnFacts {
  std::string name;
  int64_t rows = 0;                                    // that have it
  std::vector<std::pair<std::string, int64_t>> kinds;  // "text", "number", "list", "object", "true/false", "null"
};

struct LongRow {
  int64_t row = 0;  // its number in the file
  int64_t characters = 0;
  std::optional<int64_t> tokens;
};

struct DatasetFacts {
  int64_t rows = 0;
  DatasetType type = DatasetType::kLanguageModeling;
  std::vector<std::pair<std::string, int64_t>> dialects;  // "plain", "conversational", "sharegpt"
  std::vector<ColumnFacts> columns;                       // in the order of their first appearance
  std::vector<std::pair<std::string, int64_t>> roles;     // of messages, as written
  Spread characters;  // of a row's text: all strings in the columns that training reads
  std::optional<Spread> tokens;
  std::optional<Spread> turns;   // messages in a row, where there are any
  int64_t not_tokenized = 0;     // rows that the tokenizer or the chat template refused
  int64_t duplicates = 0;        // rows equal to an earlier one in every column
  std::vector<LongRow> longest;  // at most 5, the longest first
};

// `reader` may be null: then nothing is said of tokens. Error: no row is of a known type.
Result<DatasetFacts> dataset_facts(const Rows& rows, const TextReader* reader);

// The strings of the columns that training reads, in their order, a line break between two.
std::string training_text(const text::Json& columns);

}  // namespace candor::data
