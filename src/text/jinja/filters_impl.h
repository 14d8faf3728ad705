// The tables behind filters.h, one per file.
#pragma once

#include <map>

#include "text/jinja/runtime.h"

namespace candor::text::jinja {

struct FilterCall {
  Runtime& run;
  std::string_view name;
  const Arguments& arguments;

  Result<Bound> bind(std::initializer_list<std::string_view> parameters, size_t required = 1) const {
    return jinja::bind(name, parameters, required, arguments);
  }
};

using Filter = Result<Value> (*)(const FilterCall&);
using FilterTable = std::map<std::string_view, Filter>;

const FilterTable& text_filters();
const FilterTable& markup_filters();
const FilterTable& number_filters();
const FilterTable& sequence_filters();
const FilterTable& selection_filters();

// item.a.b or item[0]: what `attribute=` means. `fallback` stands in for an undefined result.
Result<Value> pick_attribute(Runtime& run, const Value& item, const Value& path, const std::optional<Value>& fallback);
Result<Value> ignore_case(const Value& value, bool case_sensitive);  // strings in lower case

}  // namespace candor::text::jinja
