#include "data/row_checks.h"

#include <fmt/format.h>

#include <algorithm>

namespace candor::data {
namespace {

using text::Json;

bool holds_nul(const Json& value) {  // as deep as the reader lets a row nest
  if (value.is_string()) return value.get_ref<const std::string&>().find('\0') != std::string::npos;
  return value.is_structured() && std::any_of(value.begin(), value.end(), holds_nul);
}

}  // namespace

std::string text_fault(const Json& columns) {
  for (const auto& [name, value] : columns.items())
    if (holds_nul(value)) return fmt::format("\"{}\" holds a NUL character. Remove it.", name);
  return "";
}

}  // namespace candor::data
