// Jinja's tests: `value is name(arguments)`. The value is the first positional argument.
#pragma once

#include "text/jinja/runtime.h"

namespace candor::text::jinja {

bool is_known_test(std::string_view name);
Result<bool> apply_test(Runtime& run, std::string_view name, const Arguments& arguments);
bool is_callable(const Value& value);

}  // namespace candor::text::jinja
