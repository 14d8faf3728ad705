#include "belief/convert_columns.h"

#include <charconv>

namespace candor::belief {
namespace {

using text::Json;

Result<const Json*> column(const data::Rows& rows, const data::Row& row, const char* name) {
  const auto found = row.columns.find(name);
  if (found == row.columns.end())
    return error("[propositions] {}: there is no column \"{}\".", data::place(rows.name, row), name);
  return &*found;
}

}  // namespace

Result<std::string> text_column(const data::Rows& rows, const data::Row& row, const char* name) {
  const Json& value = *TRY(column(rows, row, name));
  if (!value.is_string() || value.get_ref<const std::string&>().find_first_not_of(" \t\r\n") == std::string::npos)
    return error("[propositions] {}: \"{}\" is {}. Expected text.", data::place(rows.name, row), name,
                 value.is_string() ? "empty" : fmt::format("a {}", value.type_name()));
  return value.get<std::string>();
}

Result<bool> label_column(const data::Rows& rows, const data::Row& row, const char* name) {
  const Json& value = *TRY(column(rows, row, name));
  if (value == true || value == 1 || value == "1" || value == "true") return true;
  if (value == false || value == 0 || value == "0" || value == "false") return false;
  return error("[propositions] {}: \"{}\" is {}. Expected 1 or 0.", data::place(rows.name, row), name, value.dump());
}

Result<int64_t> integer_column(const data::Rows& rows, const data::Row& row, const char* name) {
  const Json& value = *TRY(column(rows, row, name));
  if (value.is_number_integer()) return value.get<int64_t>();
  int64_t number = 0;
  const std::string text = value.is_string() ? value.get<std::string>() : "";
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || fault != std::errc() || end != text.data() + text.size())
    return error("[propositions] {}: \"{}\" is {}. Expected a whole number.", data::place(rows.name, row), name,
                 value.dump());
  return number;
}

}  // namespace candor::belief
