// Rows of a dataset, from JSON lines, a JSON array or CSV, each also packed by gzip or zstd; every row keeps its place
// in the file.
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
#include "data/file_kind.h"
#include "text/chat_template.h"

namespace candor::data {

class JsonReader;

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

// Reads .jsonl, .json, .ndjson (lines, one array, or objects over several lines) or .csv, with or without .gz or .zst;
// a name without extension is read as JSON, "-" is standard input. Errors name the file, the row and the fault: a file
// that is missing, empty or without rows, invalid UTF-8, a lone surrogate, a duplicate key, a control character in a
// string, a row that is no object. What unpacks to more than 200 times its size plus 64 MiB is refused.
Result<Rows> read_rows(const std::filesystem::path& path);

// The same from a stream of JSON (packed or not); `name` is for messages.
Result<Rows> read_rows(std::istream& in, std::string_view name);

// JSON lines, one array of objects, or objects over several lines.
Result<Rows> parse_json_rows(std::string_view bytes, std::string_view name);

// The next row of a stream of objects; `number` is its own. The reader is not at its end.
Result<Row> read_json_row(JsonReader& reader, std::string_view name, int64_t number);

// RFC 4180: a header line, then one row per record; quoted fields may hold commas, quotes ("") and line breaks. Every
// value is text, whatever it looks like; an empty field without quotes is null.
Result<Rows> parse_csv_rows(std::string_view bytes, std::string_view name);

// A row that could not be read; number and line are 0 where the file as a whole could not.
struct RowFault {
  int64_t number = 0;
  int64_t line = 0;
  std::string what;
};
struct ReadRows {
  Rows rows;                     // those that could be read, with their numbers in the file
  std::vector<RowFault> faults;  // the others
};

// What `path` ("-": standard input) holds, unpacked. Error: as read_rows.
Result<std::string> read_bytes(const std::filesystem::path& path);

// Reads on after a row of JSON lines that is broken, from the next line that begins an object. In an array and in CSV
// nothing tells where to go on: there the first fault is the only one, and no row is read.
ReadRows read_every_row(std::string_view bytes, std::string_view name, RowFormat format);

}  // namespace candor::data
