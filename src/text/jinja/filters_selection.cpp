// Filters that apply filters and tests to every item: map, select, selectattr and their opposites. Jinja's are lazy;
// these do their work at once, which a template can tell only by an error in a result that it never looks at.
#include "text/jinja/filters.h"
#include "text/jinja/filters_impl.h"
#include "text/jinja/operators.h"
#include "text/jinja/tests.h"

namespace candor::text::jinja {

namespace {

Result<Value> map(const FilterCall& c) {
  const auto& given = c.arguments.positional;
  if (!is_true(given[0])) return make_iterator({});  // none too
  std::vector<Value> results, items = TRY(iterate(c.run, given[0]));
  if (given.size() == 1) {
    std::optional<Value> attribute, fallback;
    for (const auto& [name, value] : c.arguments.named) {
      if (name != "attribute" && name != "default") return error("Unexpected keyword argument '{}'", name);
      (name == "attribute" ? attribute : fallback) = value;
    }
    if (!attribute) return error("map requires a filter argument");
    for (const Value& item : items) results.push_back(TRY(pick_attribute(c.run, item, *attribute, fallback)));
    return make_iterator(std::move(results));
  }
  if (!given[1].text()) return error("map: the filter's name must be a string, not {}", type_name(given[1]));
  Arguments arguments{{Value()}, c.arguments.named};
  arguments.positional.insert(arguments.positional.end(), given.begin() + 2, given.end());
  for (const Value& item : items) {
    TRY(c.run.charge(1));
    arguments.positional[0] = item;
    results.push_back(TRY(apply_filter(c.run, *given[1].text(), arguments)));
  }
  return make_iterator(std::move(results));
}

Result<Value> select(const FilterCall& c) {
  const auto& given = c.arguments.positional;
  if (!is_true(given[0])) return make_iterator({});  // none too
  bool by_attribute = c.name.ends_with("attr"), wanted = c.name.starts_with("select");
  size_t test = by_attribute ? 2 : 1;
  if (given.size() < test) return error("{}: Missing parameter for attribute name", c.name);
  if (given.size() > test && !given[test].text())
    return error("{}: the test's name must be a string, not {}", c.name, type_name(given[test]));
  Arguments arguments{{Value()}, c.arguments.named};
  if (given.size() > test)
    arguments.positional.insert(arguments.positional.end(), given.begin() + static_cast<ptrdiff_t>(test) + 1,
                                given.end());
  std::vector<Value> kept;
  for (const Value& item : TRY(iterate(c.run, given[0]))) {
    TRY(c.run.charge(1));
    Value subject = by_attribute ? TRY(pick_attribute(c.run, item, given[1], std::nullopt)) : item;
    bool holds = is_true(subject);
    if (given.size() > test) {
      arguments.positional[0] = subject;
      holds = TRY(apply_test(c.run, *given[test].text(), arguments));
    }
    if (holds == wanted) kept.push_back(item);
  }
  return make_iterator(std::move(kept));
}

Result<Value> attribute(const FilterCall& c) {
  Bound b = TRY(c.bind({"obj", "name"}, 2));
  return get_own_attribute(*b[0], TRY(to_text(*b[1])));
}

}  // namespace

const FilterTable& selection_filters() {
  static const FilterTable kTable = {
      {"map", map},           {"select", select},     {"reject", select},
      {"selectattr", select}, {"rejectattr", select}, {"attr", attribute},
  };
  return kTable;
}

}  // namespace candor::text::jinja
