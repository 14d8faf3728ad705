// Tokens to a tree, by Jinja's grammar: its precedences (2**3**2 is 64, `'a' ~ 1 is string` is 'a' ~ (1 is string)),
// its statements, loop controls and {% generation %}. An unknown filter or test is an error here unless it stands in an
// `if`.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/jinja/ast.h"

namespace candor::text::jinja {

// Errors name the template's line.
Result<Body> parse_template(std::string_view source);

}  // namespace candor::text::jinja
