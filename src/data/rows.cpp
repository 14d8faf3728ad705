#include "data/rows.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <utility>

#include "data/compression.h"
#include "data/file_kind.h"
#include "data/json_reader.h"

namespace candor::data {
namespace {

Error at_row(std::string_view name, int64_t row, const Error& fault) {
  return error("{} row {}: {}", name, row, fault.message);
}

Result<std::string> read_all(std::istream& in, std::string_view name) {
  std::string bytes;
  std::array<char, 65536> chunk;
  while (in.read(chunk.data(), chunk.size()), in.gcount() > 0) bytes.append(chunk.data(), in.gcount());
  if (in.bad()) return error("{}: reading failed: {}", name, std::strerror(errno));
  auto unpacked = unpack(std::move(bytes));
  if (!unpacked) return error("{}: {}", name, unpacked.error().message);
  return unpacked;
}

}  // namespace

Result<Row> read_json_row(JsonReader& reader, std::string_view name, int64_t number) {
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
      rows.rows.push_back(TRY(read_json_row(reader, name, next())));
      if (reader.peek() == ']') break;
      if (!reader.take(',')) return at_row(name, next() - 1, reader.fault("expected ',' or ']' after the row"));
    }
    reader.take(']');
    if (!reader.at_end()) return error("{}: {}", name, reader.fault("expected nothing after the array").message);
  }
  while (!reader.at_end()) rows.rows.push_back(TRY(read_json_row(reader, name, next())));
  if (rows.rows.empty()) return error("{}: the file holds no rows. Expected one JSON object per line.", name);
  return rows;
}

Result<Rows> read_rows(std::istream& in, std::string_view name) {
  return parse_json_rows(TRY(read_all(in, name)), name);
}

Result<std::string> read_bytes(const std::filesystem::path& path) {
  if (path == "-") return read_all(std::cin, "standard input");
  TRY(file_kind(path));
  std::error_code ec;
  if (std::filesystem::is_directory(path, ec))
    return error("{}: this is a directory; name a file of rows.", path.string());
  std::ifstream in(path, std::ios::binary);
  if (!in) return error("{}: cannot be opened: {}.", path.string(), std::strerror(errno));
  return read_all(in, path.string());
}

Result<Rows> read_rows(const std::filesystem::path& path) {
  const std::string bytes = TRY(read_bytes(path));
  const std::string name = path == "-" ? "standard input" : path.string();
  const FileKind kind = TRY(file_kind(path));
  return kind.format == RowFormat::kCsv ? parse_csv_rows(bytes, name) : parse_json_rows(bytes, name);
}

ReadRows read_every_row(std::string_view bytes, std::string_view name, RowFormat format) {
  ReadRows read{{std::string(name), {}}, {}};
  if (format == RowFormat::kCsv) {
    auto rows = parse_csv_rows(bytes, name);
    if (rows) return {std::move(*rows), {}};
    read.faults.push_back({0, 0, rows.error().message});
    return read;
  }
  JsonReader reader(bytes);
  if (reader.peek() == '[') {  // an array has no lines to go on from
    auto rows = parse_json_rows(bytes, name);
    if (rows) return {std::move(*rows), {}};
    read.faults.push_back({0, 0, rows.error().message});
    return read;
  }
  for (int64_t number = 1; !reader.at_end(); ++number) {
    const int64_t line = reader.line();
    const size_t begin = reader.position();
    auto row = read_json_row(reader, name, number);
    if (row) {
      read.rows.rows.push_back(std::move(*row));
      continue;
    }
    read.faults.push_back({number, line, row.error().message});
    reader.skip_to_next_object(begin, line);
  }
  if (read.rows.rows.empty() && read.faults.empty())
    read.faults.push_back({0, 0, fmt::format("{}: the file holds no rows. Expected one JSON object per line.", name)});
  return read;
}

}  // namespace candor::data
