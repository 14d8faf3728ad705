// What one rendering shares: its budget of steps, whether output is escaped, and the moment strftime_now sees.
#pragma once

#include <ctime>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace candor::text::jinja {

// One step is one node evaluated, one item of a list made, or 32 bytes of text looked at or made; a turn of a loop is
// 5, an object that may hold references 50.
inline constexpr uint64_t kMaxSteps = 10'000'000;

struct Runtime {
  uint64_t steps_left = kMaxSteps;
  bool autoescape = false;
  std::tm now = {};

  Result<void> charge(uint64_t steps) {
    if (steps > steps_left) return error("the template needs more than {} steps", kMaxSteps);
    steps_left -= steps;
    return {};
  }
  Result<void> charge_text(size_t bytes) {
    if (bytes > kMaxTextBytes) return error("a string grows beyond 64 MiB");
    return charge(bytes / 32);
  }
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// One entry per parameter, empty where the caller gave none; the first `required` must be given.
using Bound = std::vector<std::optional<Value>>;
Result<Bound> bind(std::string_view function, std::initializer_list<std::string_view> parameters, size_t required,
                   const Arguments& arguments);

Result<int64_t> to_index(const Value& value);   // an int or a bool
Error undefined_error(const Value& undefined);  // what using this undefined value raises

}  // namespace candor::text::jinja
