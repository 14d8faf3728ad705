// CSV as RFC 4180 has it; parse_csv_rows of rows.h.
#include <string>
#include <utility>
#include <vector>

#include "data/json_reader.h"
#include "data/rows.h"

namespace candor::data {
namespace {

using text::Json;

class CsvReader {
 public:
  explicit CsvReader(std::string_view bytes) : bytes_(bytes) {
    if (bytes_.substr(0, 3) == "\xEF\xBB\xBF") bytes_.remove_prefix(3);
  }

  bool at_end() const { return at_ == bytes_.size(); }
  int64_t line() const { return line_; }

  void skip_blank_lines() {
    while (!at_end() && take_line_break()) {
    }
  }

  // The fields of one record, each a string or null.
  Result<std::vector<Json>> record() {
    std::vector<Json> fields;
    while (true) {
      fields.push_back(TRY(field()));
      if (at_end() || take_line_break()) return fields;
      if (bytes_[at_] != ',')
        return fault("expected a comma or the line's end after a quoted field; double a quote inside it");
      ++at_;
    }
  }

 private:
  Error fault(std::string_view what) const { return error("line {}: {}", line_, what); }

  bool take_line_break() {
    if (bytes_.substr(at_, 2) == "\r\n") {
      at_ += 2;
    } else if (bytes_[at_] == '\n') {
      ++at_;
    } else {
      return false;
    }
    ++line_;
    return true;
  }

  bool at_field_end() const {
    return at_end() || bytes_[at_] == ',' || bytes_[at_] == '\n' || bytes_.substr(at_, 2) == "\r\n";
  }

  Result<Json> field() {
    const bool quoted = !at_end() && bytes_[at_] == '"';
    if (quoted) ++at_;
    std::string value;
    while (quoted ? !at_end() : !at_field_end()) {
      if (quoted && bytes_[at_] == '"') {
        ++at_;
        if (at_end() || bytes_[at_] != '"') return Json(std::move(value));
        value += '"';
        ++at_;
        continue;
      }
      const size_t length = utf8_length(bytes_.substr(at_));
      if (length == 0)
        return fault(fmt::format("byte 0x{:02X} is not valid UTF-8", static_cast<unsigned char>(bytes_[at_])));
      if (bytes_[at_] == '\n') ++line_;
      value.append(bytes_, at_, length);
      at_ += length;
    }
    if (quoted) return fault("the file ends inside a quoted field");
    return value.empty() ? Json(nullptr) : Json(std::move(value));
  }

  std::string_view bytes_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

Result<std::vector<std::string>> read_header(CsvReader& reader, std::string_view name) {
  auto fields = reader.record();
  if (!fields) return error("{} header: {}", name, fields.error().message);
  std::vector<std::string> columns;
  for (const Json& field : *fields) {
    if (!field.is_string()) return error("{} header: column {} has no name.", name, columns.size() + 1);
    for (const std::string& earlier : columns) {
      if (earlier == field.get_ref<const std::string&>())
        return error("{} header: duplicate column \"{}\".", name, earlier);
    }
    columns.push_back(field.get<std::string>());
    if (columns.size() > 10'000) return error("{} header: more than 10000 columns. Is this a CSV file?", name);
  }
  return columns;
}

}  // namespace

Result<Rows> parse_csv_rows(std::string_view bytes, std::string_view name) {
  Rows rows{std::string(name), {}};
  CsvReader reader(bytes);
  reader.skip_blank_lines();
  if (reader.at_end()) return error("{}: the file is empty. Expected a header line and rows.", name);
  const std::vector<std::string> columns = TRY(read_header(reader, name));
  for (reader.skip_blank_lines(); !reader.at_end(); reader.skip_blank_lines()) {
    Row row{Json::object(), static_cast<int64_t>(rows.rows.size()) + 1, reader.line()};
    auto fields = reader.record();
    if (!fields) return error("{} row {}: {}", name, row.number, fields.error().message);
    if (fields->size() != columns.size()) {
      return error("{} row {}: line {}: expected {} fields as in the header, got {}. Quote a field that holds a comma.",
                   name, row.number, row.line, columns.size(), fields->size());
    }
    for (size_t i = 0; i < columns.size(); ++i) row.columns[columns[i]] = std::move((*fields)[i]);
    rows.rows.push_back(std::move(row));
  }
  if (rows.rows.empty()) return error("{}: there is a header but no row.", name);
  return rows;
}

}  // namespace candor::data
