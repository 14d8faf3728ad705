#include "data/write_rows.h"

#include <cmath>

#include "base/atomic_file.h"
#include "base/input_file.h"

namespace candor::data {
namespace {

using text::Json;

void append_json(const Json& value, std::string& out) {  // as deep as the reader lets a row nest
  if (value.is_object()) {
    out += '{';
    for (auto item = value.begin(); item != value.end(); ++item) {
      if (item != value.begin()) out += ',';
      out += Json(item.key()).dump() + ':';
      append_json(item.value(), out);
    }
    out += '}';
  } else if (value.is_array()) {
    out += '[';
    for (size_t i = 0; i < value.size(); ++i) {
      if (i > 0) out += ',';
      append_json(value[i], out);
    }
    out += ']';
  } else if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    const double number = value.get<double>();
    out += std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
  } else {
    out += value.dump();
  }
}

void append_csv_field(const Json* value, std::string& out) {
  if (value == nullptr || value->is_null()) return;
  const std::string text = value->is_string() ? value->get<std::string>() : json_line(*value);
  if (!text.empty() && text.find_first_of(",\"\r\n") == std::string::npos) {
    out += text;
    return;
  }
  out += '"';  // an empty text too: nothing between the commas is null
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  out += '"';
}

std::string csv(const Rows& rows) {
  std::vector<std::string> names;
  Json known = Json::object();
  for (const Row& row : rows.rows) {
    for (const auto& [name, value] : row.columns.items()) {
      if (known.contains(name)) continue;
      known[name] = true;
      names.push_back(name);
    }
  }
  std::string out;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out += ',';
    const Json name = names[i];
    append_csv_field(&name, out);
  }
  out += '\n';
  for (const Row& row : rows.rows) {
    for (size_t i = 0; i < names.size(); ++i) {
      if (i > 0) out += ',';
      const auto value = row.columns.find(names[i]);
      append_csv_field(value == row.columns.end() ? nullptr : &*value, out);
    }
    out += '\n';
  }
  return out;
}

}  // namespace

std::string json_line(const Json& columns) {
  std::string out;
  append_json(columns, out);
  return out;
}

Result<std::string> format_rows(const Rows& rows, FileKind kind) {
  if (kind.format == RowFormat::kCsv) return pack_bytes(csv(rows), kind.compression);
  const bool array = kind.format == RowFormat::kJsonArray;
  std::string out = array ? "[" : "";
  for (size_t i = 0; i < rows.rows.size(); ++i) {
    if (array) out += i == 0 ? "\n" : ",\n";
    out += json_line(rows.rows[i].columns);
    if (!array) out += '\n';
  }
  if (array) out += "\n]\n";
  return pack_bytes(std::move(out), kind.compression);
}

Result<void> check_output(const std::filesystem::path& path) {
  TRY(file_kind(path));
  if (path_exists(path))
    return error("{}: there is a file of this name already. Name another one, or remove it.", path.string());
  return {};
}

Result<void> write_rows(const Rows& rows, const std::filesystem::path& path) {
  TRY(check_output(path));
  const FileKind kind = TRY(file_kind(path));
  return write_file_atomically(path, TRY(format_rows(rows, kind)));
}

}  // namespace candor::data
