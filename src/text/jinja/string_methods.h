// str.split, str.strip, …: what call_method does for strings.
#pragma once

#include "text/jinja/runtime.h"

namespace candor::text::jinja {

bool is_string_method(std::string_view name);
Result<Value> call_string_method(Runtime& run, const Value& self, const std::string& name, const Arguments& arguments);

// str.replace: at most `limit` times, all where it is negative.
Result<std::string> replace_text(Runtime& run, std::string_view text, std::string_view from, std::string_view to,
                                 int64_t limit);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);
Result<std::string> pad_center(Runtime& run, std::string_view text, int64_t width, std::string_view fill);
bool has_case(std::string_view text, bool upper);  // str.isupper, str.islower

}  // namespace candor::text::jinja
