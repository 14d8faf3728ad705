// Filters over sequences and dictionaries: length, sort, join, groupby, …
#include <algorithm>
#include <set>

#include "text/jinja/filters_impl.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace candor::text::jinja {

Result<Value> ignore_case(const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.text()) return value;
  return Value(to_lower(*value.text()));
}

Result<Value> pick_attribute(Runtime& run, const Value& item, const Value& path, const std::optional<Value>& fallback) {
  Value current = item;
  if (path.is_none()) return current;
  std::vector<Value> parts;
  if (path.text()) {
    std::string_view rest = *path.text();
    while (true) {
      std::string_view part = rest.substr(0, rest.find('.'));
      bool number = !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string_view::npos;
      parts.push_back(number ? Value(int64_t{std::stoi(std::string(part))}) : Value(std::string(part)));
      if (part.size() == rest.size()) break;
      rest.remove_prefix(part.size() + 1);
    }
  } else {
    parts.push_back(path);
  }
  for (const Value& part : parts) {
    TRY(run.charge(1));
    current = TRY(get_item(run, current, part));
    if (fallback && current.is_undefined()) current = *fallback;
  }
  return current;
}

namespace {

bool flag(const std::optional<Value>& value, bool absent = false) {
  return value ? is_true(*value) : absent;
}

Result<Value> length(const FilterCall& c) {
  Bound b = TRY(c.bind({"obj"}));
  const Value& value = *b[0];
  if (value.is_undefined()) return Value(int64_t{0});
  if (auto text = value.text()) return Value(static_cast<int64_t>(count_code_points(*text)));
  if (auto dict = value.dict()) return Value(static_cast<int64_t>(dict->entries.size()));
  auto s = value.sequence();
  if (s && s->kind != SequenceKind::iterator) return Value(static_cast<int64_t>(s->items.size()));
  return error("object of type '{}' has no len()", type_name(value));
}

Result<Value> first(const FilterCall& c) {
  Bound b = TRY(c.bind({"seq"}));
  std::vector<Value> items = TRY(iterate(c.run, *b[0]));
  return items.empty() ? make_undefined("No first item, sequence was empty.") : items.front();
}

Result<void> check_reversible(const Value& value) {
  auto s = value.sequence();
  if (s && s->kind == SequenceKind::iterator) return error("'{}' object is not reversible", type_name(value));
  return {};
}

Result<Value> last(const FilterCall& c) {
  Bound b = TRY(c.bind({"seq"}));
  TRY(check_reversible(*b[0]));
  if (b[0]->is_undefined()) return undefined_error(*b[0]);
  std::vector<Value> items = TRY(iterate(c.run, *b[0]));
  return items.empty() ? make_undefined("No last item, sequence was empty.") : items.back();
}

Result<Value> to_list(const FilterCall& c) {
  Bound b = TRY(c.bind({"value"}));
  return make_list(TRY(iterate(c.run, *b[0])));
}

Result<Value> reverse(const FilterCall& c) {
  Bound b = TRY(c.bind({"value"}));
  std::vector<Value> items = TRY(iterate(c.run, *b[0]));
  std::reverse(items.begin(), items.end());
  if (b[0]->text()) {
    std::string text;
    for (const Value& item : items) text += *item.text();
    return Value(std::move(text), b[0]->is_safe());
  }
  bool listed = b[0]->is_undefined() || b[0]->sequence(SequenceKind::iterator);
  return listed ? make_list(std::move(items)) : make_iterator(std::move(items), "list_reverseiterator");
}

Result<Value> join(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "d", "attribute"}));
  std::string between = b[1] ? TRY(to_text(*b[1])) : "";
  if (c.run.autoescape && b[1] && !b[1]->is_safe()) between = escape_html(between);
  std::string out;
  bool started = false;
  for (const Value& item : TRY(iterate(c.run, *b[0]))) {
    Value part = b[2] ? TRY(pick_attribute(c.run, item, *b[2], std::nullopt)) : item;
    std::string text = TRY(to_text(part));
    if (std::exchange(started, true)) out += between;
    out += c.run.autoescape && !part.is_safe() ? escape_html(text) : text;
    TRY(c.run.charge_text(text.size() + between.size()));
    if (out.size() > kMaxTextBytes) return error("a string grows beyond 64 MiB");
  }
  return Value(std::move(out), c.run.autoescape);
}

// Sorts by `keys`, stably; a comparison that fails is the error.
Result<std::vector<Value>> sorted(Runtime& run, std::vector<Value> items, const std::vector<Value>& keys,
                                  bool reversed) {
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::optional<Error> failed;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (failed) return false;
    auto less =
        reversed ? compare(run, Comparison::lt, keys[b], keys[a]) : compare(run, Comparison::lt, keys[a], keys[b]);
    if (!less) failed = less.error();
    return less && *less;
  });
  if (failed) return *failed;
  std::vector<Value> result;
  for (size_t i : order) result.push_back(items[i]);
  return result;
}

Result<std::vector<Value>> sort_keys(Runtime& run, const std::vector<Value>& items,
                                     const std::optional<Value>& attribute, bool case_sensitive,
                                     const std::optional<Value>& fallback = std::nullopt) {
  std::vector<Value> keys;
  for (const Value& item : items) {
    Value key = item;
    if (attribute && !attribute->is_none()) key = TRY(pick_attribute(run, item, *attribute, fallback));
    keys.push_back(TRY(ignore_case(key, case_sensitive)));
    if (key.text()) TRY(run.charge_text(key.text()->size()));
  }
  return keys;
}

Result<Value> sort(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "reverse", "case_sensitive", "attribute"}));
  std::vector<Value> items = TRY(iterate(c.run, *b[0]));
  std::vector<Value> keys;
  bool several = b[3] && b[3]->text() && b[3]->text()->find(',') != std::string::npos;
  if (!several) {
    keys = TRY(sort_keys(c.run, items, b[3], flag(b[2])));
  } else {
    std::vector<std::vector<Value>> columns(items.size());
    for (std::string_view rest = *b[3]->text();;) {
      std::string_view name = rest.substr(0, rest.find(','));
      std::vector<Value> column = TRY(sort_keys(c.run, items, Value(std::string(name)), flag(b[2])));
      for (size_t i = 0; i < items.size(); ++i) columns[i].push_back(std::move(column[i]));
      if (name.size() == rest.size()) break;
      rest.remove_prefix(name.size() + 1);
    }
    for (auto& column : columns) keys.push_back(make_list(std::move(column)));
  }
  return make_list(TRY(sorted(c.run, std::move(items), keys, flag(b[1]))));
}

Result<Value> dict_sort(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "case_sensitive", "by", "reverse"}));
  std::string by = b[2] ? TRY(to_text(*b[2])) : "key";
  if (by != "key" && by != "value") return error("You can only sort by either \"key\" or \"value\"");
  if (b[0]->is_undefined()) return undefined_error(*b[0]);
  if (!b[0]->dict()) return error("'{} object' has no attribute 'items'", type_name(*b[0]));
  std::vector<Value> items, keys;
  for (const auto& [key, value] : b[0]->dict()->entries) {
    items.push_back(make_tuple({key, value}));
    keys.push_back(TRY(ignore_case(by == "key" ? key : value, flag(b[1]))));
  }
  return make_list(TRY(sorted(c.run, std::move(items), keys, flag(b[3]))));
}

Result<Value> minimum_or_maximum(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "case_sensitive", "attribute"}));
  std::vector<Value> items = TRY(iterate(c.run, *b[0]));
  if (items.empty()) return make_undefined("No aggregated item, sequence was empty.");
  std::vector<Value> keys = TRY(sort_keys(c.run, items, b[2], flag(b[1])));
  size_t best = 0;
  Comparison op = c.name == "min" ? Comparison::lt : Comparison::gt;
  for (size_t i = 1; i < items.size(); ++i) {
    if (TRY(compare(c.run, op, keys[i], keys[best]))) best = i;
  }
  return items[best];
}

Result<Value> sum(const FilterCall& c) {
  Bound b = TRY(c.bind({"iterable", "attribute", "start"}));
  Value total = b[2].value_or(Value(int64_t{0}));
  if (total.text()) return error("sum() can't sum strings [use ''.join(seq) instead]");
  for (const Value& item : TRY(iterate(c.run, *b[0]))) {
    Value part = b[1] && !b[1]->is_none() ? TRY(pick_attribute(c.run, item, *b[1], std::nullopt)) : item;
    total = TRY(arithmetic(c.run, ExprKind::add, total, part));
  }
  return total;
}

Result<Value> unique(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "case_sensitive", "attribute"}));
  std::vector<Value> items = TRY(iterate(c.run, *b[0]));
  std::vector<Value> keys = TRY(sort_keys(c.run, items, b[2], flag(b[1])))
  , kept;
  std::set<std::string> seen;
  for (size_t i = 0; i < items.size(); ++i) {
    if (seen.insert(TRY(key_spelling(keys[i]))).second) kept.push_back(items[i]);
  }
  return make_iterator(std::move(kept));
}

Result<Value> group_by(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "attribute", "default", "case_sensitive"}, 2));
  std::vector<Value> items = TRY(iterate(c.run, *b[0]));
  std::vector<Value> keys = TRY(sort_keys(c.run, items, b[1], flag(b[3]), b[2]))
  , pairs;
  for (size_t i = 0; i < items.size(); ++i) pairs.push_back(make_tuple({keys[i], items[i]}));
  pairs = TRY(sorted(c.run, std::move(pairs), keys, false));
  std::vector<Value> groups;
  for (size_t i = 0; i < pairs.size();) {
    const Value& key = pairs[i].sequence()->items[0];
    std::vector<Value> members;
    for (; i < pairs.size() && TRY(equal(c.run, pairs[i].sequence()->items[0], key)); ++i) {
      members.push_back(pairs[i].sequence()->items[1]);
    }
    if (members.empty()) return error("groupby: a key that is not equal to itself");
    Value grouper = TRY(pick_attribute(c.run, members[0], *b[1], b[2]));
    groups.push_back(make_sequence(SequenceKind::tuple, {grouper, make_list(std::move(members))}, "group"));
  }
  return make_list(std::move(groups));
}

Result<Value> batch(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "linecount", "fill_with"}, 2));
  int64_t size = TRY(to_index(*b[1]));
  if (size < 1) return error("batch: linecount must be at least 1, got {}", size);
  std::vector<Value> batches, current;
  for (Value& item : TRY(iterate(c.run, *b[0]))) {
    if (static_cast<int64_t>(current.size()) == size) batches.push_back(make_list(std::exchange(current, {})));
    current.push_back(std::move(item));
  }
  if (!current.empty() && b[2] && !b[2]->is_none()) {
    TRY(c.run.charge(static_cast<uint64_t>(size)));
    current.resize(static_cast<size_t>(size), *b[2]);
  }
  if (!current.empty()) batches.push_back(make_list(std::move(current)));
  return make_iterator(std::move(batches));
}

Result<Value> slice(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "slices", "fill_with"}, 2));
  int64_t count = TRY(to_index(*b[1]));
  if (count < 1) return error("slice: slices must be at least 1, got {}", count);
  TRY(c.run.charge(static_cast<uint64_t>(count)));
  std::vector<Value> items = TRY(iterate(c.run, *b[0]))
  , slices;
  size_t slots = static_cast<size_t>(count), each = items.size() / slots, extra = items.size() % slots, at = 0;
  for (size_t i = 0; i < slots; ++i) {
    size_t size = each + (i < extra ? 1 : 0);
    std::vector<Value> part(items.begin() + static_cast<ptrdiff_t>(at),
                            items.begin() + static_cast<ptrdiff_t>(at + size));
    at += size;
    if (b[2] && !b[2]->is_none() && i >= extra) part.push_back(*b[2]);
    slices.push_back(make_list(std::move(part)));
  }
  return make_iterator(std::move(slices));
}

Result<Value> items(const FilterCall& c) {
  Bound b = TRY(c.bind({"value"}));
  std::vector<Value> pairs;
  if (b[0]->is_undefined()) return make_iterator(std::move(pairs));
  if (!b[0]->dict()) return error("Can only get item pairs from a mapping.");
  TRY(c.run.charge(b[0]->dict()->entries.size()));
  for (const auto& [key, value] : b[0]->dict()->entries) pairs.push_back(make_tuple({key, value}));
  return make_iterator(std::move(pairs));
}

Result<Value> sort_deep(const FilterCall& c, const Value& value) {
  TRY(c.run.charge(1));
  if (auto s = value.sequence(); s && (s->kind == SequenceKind::list || s->kind == SequenceKind::tuple)) {
    std::vector<Value> items;
    for (const Value& item : s->items) items.push_back(TRY(sort_deep(c, item)));
    return make_sequence(s->kind, std::move(items));
  }
  if (!value.dict()) return value;
  std::vector<Value> keys;
  for (const auto& entry : value.dict()->entries) keys.push_back(entry.first);
  Dict dict;
  for (const Value& key : TRY(sorted(c.run, keys, keys, false))) {
    std::string spelling = TRY(key_spelling(key));
    dict.insert(spelling, key, TRY(sort_deep(c, *value.dict()->find(spelling))));
  }
  return make_dict(std::move(dict));
}

Result<Value> pretty_print(const FilterCall& c) {
  Bound b = TRY(c.bind({"value"}));
  std::string text = TRY(to_repr(TRY(sort_deep(c, *b[0]))));
  if (count_code_points(text) > 80) return error("pprint knows only values that fit on one line of 80 characters");
  return Value(std::move(text));
}

}  // namespace

const FilterTable& sequence_filters() {
  static const FilterTable kTable = {
      {"length", length},
      {"count", length},
      {"first", first},
      {"last", last},
      {"list", to_list},
      {"reverse", reverse},
      {"join", join},
      {"sort", sort},
      {"dictsort", dict_sort},
      {"min", minimum_or_maximum},
      {"max", minimum_or_maximum},
      {"sum", sum},
      {"unique", unique},
      {"groupby", group_by},
      {"batch", batch},
      {"slice", slice},
      {"items", items},
      {"pprint", pretty_print},
  };
  return kTable;
}

}  // namespace candor::text::jinja
