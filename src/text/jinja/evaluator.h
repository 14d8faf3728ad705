// Runs a parsed template. A scope is a chain of variables: loops, macros, `with`, set blocks and {% generation %} open
// one, `if` does not. Recursion, steps and output are limited; every error names the template's line.
#pragma once

#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"

namespace candor::text::jinja {

struct Output {
  std::string text;
  std::vector<std::pair<size_t, size_t>> spans;  // of {% generation %}, in bytes of the text
};

// `variables` are the template's context; strftime_now sees `now`.
Result<Output> evaluate(const Body& body, const Dict& variables, const std::tm& now);

}  // namespace candor::text::jinja
