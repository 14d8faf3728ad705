// Rows of a dataset, from JSON lines, a JSON array or CSV, each also gzipped; every row keeps its place in the file.
//
// A row is a JSON object whose members are its columns, in the file's order. A column that a row lacks stays absent
// (load_dataset would fill in null). One bad row is an error for the whole file: nothing is dropped in silence.
#pragma once

#include <cstdint>
#include <filesystem>
#include <istream>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/chat_template.h"

namespace candor::data {

struct Row {
  text::Json columns;  // an object
  int64_t number = 0;  // 1-based among the rows
  int64_t line = 0;    // 1-based line of the file where the row starts
};

struct Rows {
  std::string name;  // of the file, for messages
  std::vector<Row> rows;
};

// Where a row stands, for messages: "data.jsonl row 17", with "(line 19)" where blank lines make the two differ.
std::string place(std::string_view file, const Row& row);

// Reads .jsonl, .json, .ndjson (lines, one array, or objects over several lines) or .csv, with or without .gz; a name
// without extension is read as JSON, "-" is standard input. Errors name the file, the row and the fault: a file that is
// missing, empty or without rows, invalid UTF-8, a lone surrogate, a duplicate key, a control character in a string, a
// row that is no object. A gzip that unpacks to more than 200 times its size plus 64 MiB is refused.
Result<Rows> read_rows(const std::filesystem::path& path);

// The same from a stream of JSON (or gzipped JSON); `name` is for messages.
Result<Rows> read_rows(std::istream& in, std::string_view name);

// JSON lines, one array of objects, or objects over several lines.
Result<Rows> parse_json_rows(std::string_view bytes, std::string_view name);

// RFC 4180: a header line, then one row per record; quoted fields may hold commas, quotes ("") and line breaks. Every
// value is text, whatever it looks like; an empty field without quotes is null.
Result<Rows> parse_csv_rows(std::string_view bytes, std::string_view name);

}  // namespace candor::data
