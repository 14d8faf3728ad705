// The methods of strings, lists, dictionaries and numbers, with Python's semantics.
#pragma once

#include "text/jinja/runtime.h"

namespace candor::text::jinja {

enum class MethodAccess { none, safe, changes_object };  // the sandbox forbids those that change their object

MethodAccess find_method(const Value& object, std::string_view name);
Result<Value> call_method(Runtime& run, const Value& self, const std::string& name, const Arguments& arguments);

}  // namespace candor::text::jinja
