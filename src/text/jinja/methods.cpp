#include "text/jinja/methods.h"

#include <algorithm>
#include <cmath>

#include "text/jinja/operators.h"
#include "text/jinja/string_methods.h"

namespace candor::text::jinja {

namespace {

using Names = std::initializer_list<std::string_view>;
bool among(std::string_view name, Names names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

MethodAccess access(std::string_view name, Names safe, Names changing) {
  if (among(name, safe)) return MethodAccess::safe;
  return among(name, changing) ? MethodAccess::changes_object : MethodAccess::none;
}

Result<Value> call_sequence_method(Runtime& run, const Value& self, const std::string& name,
                                   const Arguments& arguments) {
  const Sequence& s = *self.sequence();
  if (name == "copy") {
    TRY(bind(name, {}, 0, arguments));
    return make_list(s.items);
  }
  Bound b = TRY(bind(name, {"value", "start", "stop"}, 1, arguments));
  int64_t count = 0;
  for (size_t i = 0; i < s.items.size(); ++i) {
    if (!TRY(equal(run, s.items[i], *b[0]))) continue;
    if (name == "index") return Value(static_cast<int64_t>(i));
    ++count;
  }
  if (name == "index") return error("{} is not in {}", TRY(to_repr(*b[0])), type_name(self));
  return Value(count);
}

Result<Value> call_dict_method(Runtime& run, const Value& self, const std::string& name, const Arguments& arguments) {
  const Dict& dict = *self.dict();
  if (name == "get") {
    Bound b = TRY(bind(name, {"key", "default"}, 1, arguments));
    const Value* found = dict.find(TRY(key_spelling(*b[0])));
    return found ? *found : b[1].value_or(Value());
  }
  TRY(bind(name, {}, 0, arguments));
  TRY(run.charge(dict.entries.size()));
  if (name == "copy") return self;
  std::vector<Value> items;
  for (const auto& [key, value] : dict.entries) {
    items.push_back(name == "keys" ? key : name == "values" ? value : make_tuple({key, value}));
  }
  SequenceKind kind = name == "keys"     ? SequenceKind::keys
                      : name == "values" ? SequenceKind::values
                                         : SequenceKind::items;
  return make_sequence(kind, std::move(items));
}

}  // namespace

MethodAccess find_method(const Value& object, std::string_view name) {
  if (object.text()) return is_string_method(name) ? MethodAccess::safe : MethodAccess::none;
  if (object.sequence(SequenceKind::list)) {
    return access(name, {"index", "count", "copy"},
                  {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"});
  }
  if (object.sequence(SequenceKind::tuple) || object.sequence(SequenceKind::range))
    return access(name, {"index", "count"}, {});
  if (object.dict()) {
    return access(name, {"items", "keys", "values", "get", "copy"},
                  {"clear", "pop", "popitem", "setdefault", "update"});
  }
  if (object.is_integer()) return access(name, {"bit_length", "is_integer"}, {});
  if (object.get<double>()) return access(name, {"is_integer"}, {});
  if (Object* o = object.object()) {
    if (o->kind == ObjectKind::loop) return access(name, {"cycle", "changed"}, {});
    if (o->kind == ObjectKind::cycler) return access(name, {"next", "reset"}, {});
  }
  return MethodAccess::none;
}

Result<Value> call_method(Runtime& run, const Value& self, const std::string& name, const Arguments& arguments) {
  if (self.text()) return call_string_method(run, self, name, arguments);
  if (self.sequence()) return call_sequence_method(run, self, name, arguments);
  if (self.dict()) return call_dict_method(run, self, name, arguments);
  TRY(bind(name, {}, 0, arguments));
  if (name == "bit_length") return Value(static_cast<int64_t>(to_big(self).bits()));
  return Value(self.is_integer() || *self.get<double>() == std::floor(*self.get<double>()));
}

}  // namespace candor::text::jinja
