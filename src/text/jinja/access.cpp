// Attributes, items and slices (declared in operators.h), with what the sandbox forbids.
#include <algorithm>

#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace candor::text::jinja {

namespace {

std::string describe_object(const Value& object) {
  return object.is_none() ? "'None'" : fmt::format("'{} object'", type_name(object));
}

Value unsafe(const Value& object, const std::string& name) {
  return make_undefined(fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(object)));
}

Value no_attribute(const Value& object, const std::string& name) {
  return make_undefined(fmt::format("{} has no attribute '{}'", describe_object(object), name));
}

bool is_special_name(const std::string& name) {
  return name.size() > 4 && name.starts_with("__") && name.ends_with("__");
}

// Python's attribute of that name, or nothing.
std::optional<Value> own_attribute(const Value& object, const std::string& name) {
  if (is_special_name(name)) return unsafe(object, name);
  if (Object* o = object.object()) {
    if (o->kind == ObjectKind::name_space) {
      const Value* found = o->attributes.find_text(name);
      return found ? std::optional<Value>(*found) : std::nullopt;
    }
    if (auto value = o->attribute(name)) return value;
  }
  if (const Sequence* s = object.sequence(SequenceKind::tuple); s && s->label == "group") {
    if (name == "grouper") return s->items[0];
    if (name == "list") return s->items[1];
  }
  switch (find_method(object, name)) {
    case MethodAccess::safe:
      return Value(std::make_shared<Object>(ObjectKind::method, name, object));
    case MethodAccess::changes_object:
      return unsafe(object, name);
    case MethodAccess::none:
      break;
  }
  return std::nullopt;
}

std::optional<size_t> resolve_index(int64_t index, size_t size) {
  if (index < 0) index += static_cast<int64_t>(size);
  if (index < 0 || index >= static_cast<int64_t>(size)) return std::nullopt;
  return static_cast<size_t>(index);
}

// The item, or nothing where Python raises a TypeError or LookupError.
Result<std::optional<Value>> own_item(Runtime& run, const Value& object, const Value& key) {
  std::optional<Value> nothing;
  if (auto dict = object.dict()) {
    auto spelling = key_spelling(key);
    const Value* found = spelling ? dict->find(*spelling) : nullptr;
    return found ? std::optional<Value>(*found) : nothing;
  }
  if (!key.get<Integer>() && !key.get<bool>()) return nothing;
  int64_t index = TRY(to_index(key));
  if (auto text = object.text()) {
    TRY(run.charge_text(text->size()));
    auto place = resolve_index(index, count_code_points(*text));
    if (!place) return nothing;
    size_t start = byte_offset(*text, *place), end = start;
    next_code_point(*text, end);
    return std::optional<Value>(Value(text->substr(start, end - start), object.is_safe()));
  }
  const Sequence* s = object.sequence();
  bool indexable = s && (s->kind == SequenceKind::list || s->kind == SequenceKind::tuple ||
                         s->kind == SequenceKind::range || s->kind == SequenceKind::bytes);
  auto place = indexable ? resolve_index(index, s->items.size()) : std::nullopt;
  return place ? std::optional<Value>(s->items[*place]) : nothing;
}

}  // namespace

Result<Value> get_own_attribute(const Value& object, const std::string& name) {
  if (object.is_undefined()) return undefined_error(object);
  auto found = own_attribute(object, name);
  return found ? *found : no_attribute(object, name);
}

Result<Value> get_attribute(Runtime& run, const Value& object, const std::string& name) {
  if (object.is_undefined()) return undefined_error(object);
  if (auto found = own_attribute(object, name)) return *found;
  if (object.dict()) {
    if (auto item = TRY(own_item(run, object, Value(name)))) return *item;
  }
  return no_attribute(object, name);
}

Result<Value> get_item(Runtime& run, const Value& object, const Value& key) {
  if (object.is_undefined()) return undefined_error(object);
  if (auto item = TRY(own_item(run, object, key))) return *item;
  if (auto name = key.text()) {
    if (auto found = own_attribute(object, *name)) return *found;
    return no_attribute(object, *name);
  }
  return make_undefined(fmt::format("{} has no element {}", describe_object(object), TRY(to_repr(key))));
}

Result<Value> get_slice(Runtime& run, const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (object.is_undefined()) return undefined_error(object);
  const Sequence* s = object.sequence();
  bool sliceable =
      object.text() ||
      (s && (s->kind == SequenceKind::list || s->kind == SequenceKind::tuple || s->kind == SequenceKind::range));
  if (!sliceable) return make_undefined(fmt::format("{} has no such slice", describe_object(object)));
  if (object.text()) TRY(run.charge(object.text()->size() / 8));
  std::vector<char32_t> points = object.text() ? code_points(*object.text()) : std::vector<char32_t>();
  auto size = static_cast<int64_t>(object.text() ? points.size() : s->items.size());
  int64_t stride = step.is_none() ? 1 : TRY(to_index(step));
  if (stride == 0) return error("slice step cannot be zero");
  auto bound = [&](const Value& value, int64_t absent) -> Result<int64_t> {
    if (value.is_none()) return absent;
    int64_t index = TRY(to_index(value));
    if (index < 0) index = std::max(index + size, stride < 0 ? int64_t{-1} : int64_t{0});
    return std::min(index, stride < 0 ? size - 1 : size);
  };
  int64_t from = TRY(bound(start, stride < 0 ? size - 1 : 0))
  , to = TRY(bound(stop, stride < 0 ? -1 : size));
  stride = std::clamp(stride, -size - 1, size + 1);
  std::vector<char32_t> picked_points;
  std::vector<Value> picked;
  for (int64_t i = from; stride > 0 ? i < to : i > to; i += stride) {
    object.text() ? picked_points.push_back(points[static_cast<size_t>(i)])
                  : picked.push_back(s->items[static_cast<size_t>(i)]);
  }
  if (object.text()) return Value(to_utf8(picked_points), object.is_safe());
  TRY(run.charge(picked.size()));
  // A slice of a range is a list here: only its printed form differs from Python's.
  return make_sequence(s->kind == SequenceKind::tuple ? SequenceKind::tuple : SequenceKind::list, std::move(picked));
}

}  // namespace candor::text::jinja
