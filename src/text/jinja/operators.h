// Python's operators on values: arithmetic, comparison, membership, iteration, attributes and items.
#pragma once

#include "text/jinja/ast.h"
#include "text/jinja/runtime.h"

namespace candor::text::jinja {

Result<bool> equal(Runtime& run, const Value& a, const Value& b);
Result<bool> compare(Runtime& run, Comparison op, const Value& a, const Value& b);
Result<bool> contains(Runtime& run, const Value& container, const Value& item);

// add … power; str % arguments formats.
Result<Value> arithmetic(Runtime& run, ExprKind op, const Value& a, const Value& b);
Result<Value> negate(const Value& value);
double to_double(const Value& number);
BigInt to_big(const Value& integer);

// The items of anything iterable: of a dict its keys, of a string its characters; nothing of an undefined value. An
// iterator hands out its items once.
Result<std::vector<Value>> iterate(Runtime& run, const Value& value);

// a.name and a[key]: undefined where there is no such thing; what the sandbox forbids prints as nothing and is an error
// in any other use.
Result<Value> get_attribute(Runtime& run, const Value& object, const std::string& name);
Result<Value> get_own_attribute(const Value& object, const std::string& name);  // without falling back to items
Result<Value> get_item(Runtime& run, const Value& object, const Value& key);
Result<Value> get_slice(Runtime& run, const Value& object, const Value& start, const Value& stop, const Value& step);

std::string escape_html(std::string_view text);

}  // namespace candor::text::jinja
