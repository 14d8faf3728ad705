#include "text/jinja/runtime.h"

#include <algorithm>

namespace candor::text::jinja {

Result<Bound> bind(std::string_view function, std::initializer_list<std::string_view> parameters, size_t required,
                   const Arguments& arguments) {
  if (arguments.positional.size() > parameters.size()) {
    return error("{}() takes {} positional argument{} but {} were given", function, parameters.size(),
                 parameters.size() == 1 ? "" : "s", arguments.positional.size());
  }
  Bound bound(arguments.positional.begin(), arguments.positional.end());
  bound.resize(parameters.size());
  for (const auto& [name, value] : arguments.named) {
    auto found = std::find(parameters.begin(), parameters.end(), name);
    if (found == parameters.end()) return error("{}() got an unexpected keyword argument '{}'", function, name);
    auto& place = bound[static_cast<size_t>(found - parameters.begin())];
    if (place) return error("{}() got multiple values for argument '{}'", function, name);
    place = value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!bound[i]) return error("{}() missing required argument: '{}'", function, parameters.begin()[i]);
  }
  return bound;
}

Result<int64_t> to_index(const Value& value) {
  if (value.is_undefined()) return undefined_error(value);
  if (auto i = value.get<Integer>()) return *i;
  if (auto b = value.get<bool>()) return int64_t{*b};
  return error("'{}' object cannot be interpreted as an integer", type_name(value));
}

Error undefined_error(const Value& undefined) {
  return Error{*undefined.get<Undefined>()->why};
}

}  // namespace candor::text::jinja
