// Jinja's filters: `value|name(arguments)`. The value is the first positional argument.
// Left out, and unknown to a template: random (draws without a seed), urlize.
#pragma once

#include "text/jinja/runtime.h"

namespace candor::text::jinja {

bool is_known_filter(std::string_view name);
Result<Value> apply_filter(Runtime& run, std::string_view name, const Arguments& arguments);

}  // namespace candor::text::jinja
