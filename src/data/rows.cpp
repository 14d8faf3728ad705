#include "data/rows.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <utility>

#include "data/gzip.h"
#include "data/json_reader.h"

namespace candor::data {
namespace {

Error at_row(std::string_view name, int64_t row, const Error& fault) {
  return error("{} row {}: {}", name, row, fault.message);
}

Result<Row> read_row(JsonReader& reader, std::string_view name, int64_t number) {
  reader.at_end();
  Row row{nullptr, number, reader.line()};
  auto value = reader.value();
  if (!value) return at_row(name, number, value.error());
  if (!value->is_object()) {
    return error(
        "{} row {}: line {}: expected an object with the row's columns, got {} {}. Write e.g. {{\"prompt\": …}}.", name,
        number, row.line, value->is_array() ? "an" : "a", value->type_name());
  }
  row.columns = std::move(*value);
  return row;
}

// The last two extensions decide: "rows.csv.gz" is CSV.
Result<bool> is_csv(std::filesystem::path path) {
  if (path.extension() == ".gz") path.replace_extension();
  const std::string extension = path.extension().string();
  if (extension == ".csv") return true;
  for (const char* json : {"", ".jsonl", ".json", ".ndjson"}) {
    if (extension == json) return false;
  }
  return error("{}: unknown extension \"{}\". Expected .jsonl, .json, .ndjson or .csv, with or without .gz.",
               path.string(), extension);
}

Result<std::string> read_all(std::istream& in, std::string_view name) {
  std::string bytes;
  std::array<char, 65536> chunk;
  while (in.read(chunk.data(), chunk.size()), in.gcount() > 0) bytes.append(chunk.data(), in.gcount());
  if (in.bad()) return error("{}: reading failed: {}", name, std::strerror(errno));
  if (is_gzip(bytes)) {
    auto unpacked = gunzip(bytes);
    if (!unpacked) return error("{}: {}", name, unpacked.error().message);
    return std::move(*unpacked);
  }
  return bytes;
}

}  // namespace

std::string place(std::string_view file, const Row& row) {
  if (row.line == row.number) return fmt::format("{} row {}", file, row.number);
  return fmt::format("{} row {} (line {})", file, row.number, row.line);
}

Result<Rows> parse_json_rows(std::string_view bytes, std::string_view name) {
  Rows rows{std::string(name), {}};
  JsonReader reader(bytes);
  const auto next = [&] { return static_cast<int64_t>(rows.rows.size()) + 1; };
  if (reader.take('[')) {
    while (reader.peek() != ']' || !rows.rows.empty()) {
      rows.rows.push_back(TRY(read_row(reader, name, next())));
      if (reader.peek() == ']') break;
      if (!reader.take(',')) return at_row(name, next() - 1, reader.fault("expected ',' or ']' after the row"));
    }
    reader.take(']');
    if (!reader.at_end()) return error("{}: {}", name, reader.fault("expected nothing after the array").message);
  }
  while (!reader.at_end()) rows.rows.push_back(TRY(read_row(reader, name, next())));
  if (rows.rows.empty()) return error("{}: the file holds no rows. Expected one JSON object per line.", name);
  return rows;
}

Result<Rows> read_rows(std::istream& in, std::string_view name) {
  return parse_json_rows(TRY(read_all(in, name)), name);
}

Result<Rows> read_rows(const std::filesystem::path& path) {
  if (path == "-") return read_rows(std::cin, "standard input");
  const bool csv = TRY(is_csv(path));
  std::error_code ec;
  if (std::filesystem::is_directory(path, ec))
    return error("{}: this is a directory; name a file of rows.", path.string());
  std::ifstream in(path, std::ios::binary);
  if (!in) return error("{}: cannot be opened: {}.", path.string(), std::strerror(errno));
  const std::string bytes = TRY(read_all(in, path.string()));
  return csv ? parse_csv_rows(bytes, path.string()) : parse_json_rows(bytes, path.string());
}

}  // namespace candor::data
