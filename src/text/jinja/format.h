// Text out of values: `'%s' % x`, `'{}'.format(x)` and JSON as Transformers' tojson writes it.
#pragma once

#include "text/jinja/runtime.h"

namespace candor::text::jinja {

Result<Value> format_percent(Runtime& run, const Value& format, const Value& arguments);
Result<std::string> format_braces(Runtime& run, std::string_view format, const Arguments& arguments);

struct JsonStyle {
  bool ascii = false;
  std::optional<std::string> indent;  // per level; none: one line
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false;
};
Result<std::string> to_json(Runtime& run, const Value& value, const JsonStyle& style);

// strftime in English, with the GNU flag `-` (no padding). Unknown letters stay as they are.
std::string format_time(std::string_view format, const std::tm& moment);

}  // namespace candor::text::jinja
