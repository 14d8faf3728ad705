#include "text/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/jinja/unicode.h"

namespace candor::text::jinja {

const Value* Dict::find(const std::string& spelling) const {
  auto found = index.find(spelling);
  return found == index.end() ? nullptr : &entries[found->second].second;
}

namespace {

std::string text_spelling(std::string_view key) {
  return std::string(1, 's').append(key);
}

}  // namespace

const Value* Dict::find_text(std::string_view key) const {
  return find(text_spelling(key));
}

void Dict::insert(const std::string& spelling, Value key, Value value) {
  depth = std::max({depth, key.depth() + 1, value.depth() + 1});
  auto [place, fresh] = index.emplace(spelling, entries.size());
  if (fresh) {
    entries.emplace_back(std::move(key), std::move(value));
  } else {
    entries[place->second].second = std::move(value);
  }
}

void Dict::insert_text(std::string_view key, Value value) {
  insert(text_spelling(key), Value(std::string(key)), std::move(value));
}

Value::Value(BigInt value) {
  if (auto small = value.to_int64()) {
    state_ = *small;
  } else {
    state_ = std::make_shared<const BigInt>(std::move(value));
  }
}

const std::string* Value::text() const {
  const Text* text = get<Text>();
  return text ? text->bytes.get() : nullptr;
}

const Sequence* Value::sequence() const {
  auto pointer = get<std::shared_ptr<const Sequence>>();
  return pointer ? pointer->get() : nullptr;
}

const Sequence* Value::sequence(SequenceKind kind) const {
  const Sequence* found = sequence();
  return found && found->kind == kind ? found : nullptr;
}

const Dict* Value::dict() const {
  auto pointer = get<std::shared_ptr<const Dict>>();
  return pointer ? pointer->get() : nullptr;
}

Object* Value::object() const {
  auto pointer = object_pointer();
  return pointer ? pointer->get() : nullptr;
}

bool Value::is_safe() const {
  const Text* text = get<Text>();
  return text && text->safe;
}

bool Value::is_integer() const {
  return get<Integer>() || get<bool>() || get<std::shared_ptr<const BigInt>>();
}
bool Value::is_number() const {
  return is_integer() || get<double>();
}

int Value::depth() const {
  if (const Sequence* s = sequence()) return s->depth;
  if (const Dict* d = dict()) return d->depth;
  if (const Object* o = object()) return o->kind == ObjectKind::method ? o->self.depth() + 1 : 1;
  return 0;
}

Value make_undefined(std::string why) {
  return Value(Undefined{std::make_shared<const std::string>(std::move(why))});
}

Value make_sequence(SequenceKind kind, std::vector<Value> items, std::string label) {
  int depth = 1;
  for (const Value& item : items) depth = std::max(depth, item.depth() + 1);
  return Value(std::make_shared<const Sequence>(Sequence{kind, std::move(items), depth, std::move(label), 0}));
}

Value make_list(std::vector<Value> items) {
  return make_sequence(SequenceKind::list, std::move(items));
}
Value make_tuple(std::vector<Value> items) {
  return make_sequence(SequenceKind::tuple, std::move(items));
}
Value make_dict(Dict dict) {
  return Value(std::make_shared<const Dict>(std::move(dict)));
}
Value make_iterator(std::vector<Value> items, std::string type) {
  return make_sequence(SequenceKind::iterator, std::move(items), std::move(type));
}

namespace {

Result<Value> from_json_at(const nlohmann::ordered_json& json, int depth) {
  using Kind = nlohmann::ordered_json::value_t;
  if (depth > kMaxDepth - 10) return error("[chat template] the data nest deeper than {} levels", kMaxDepth - 10);
  switch (json.type()) {
    case Kind::boolean:
      return Value(json.get<bool>());
    case Kind::number_integer:
      return Value(json.get<int64_t>());
    case Kind::number_unsigned:
      return Value(*BigInt::parse(std::to_string(json.get<uint64_t>()), 10));
    case Kind::number_float:
      return Value(json.get<double>());
    case Kind::string: {
      const auto& text = json.get_ref<const std::string&>();
      if (auto at = find_invalid_utf8(text))
        return error("[chat template] a string of the data is not UTF-8 at byte {}", *at);
      if (text.size() > kMaxTextBytes) return error("[chat template] a string of the data is longer than 64 MiB");
      return Value(text);
    }
    case Kind::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(TRY(from_json_at(item, depth + 1)));
      return make_list(std::move(items));
    }
    case Kind::object: {
      Dict dict;
      for (const auto& [key, item] : json.items()) {
        if (find_invalid_utf8(key)) return error("[chat template] a key of the data is not UTF-8");
        dict.insert_text(key, TRY(from_json_at(item, depth + 1)));
      }
      return make_dict(std::move(dict));
    }
    default:
      return Value();
  }
}

}  // namespace

Result<Value> from_json(const nlohmann::ordered_json& json) {
  return from_json_at(json, 0);
}

std::string type_name(const Value& value) {
  if (value.is_none()) return "NoneType";
  if (value.is_undefined()) return "Undefined";
  if (value.get<bool>()) return "bool";
  if (value.is_integer()) return "int";
  if (value.get<double>()) return "float";
  if (value.text()) return value.is_safe() ? "Markup" : "str";
  if (value.dict()) return "dict";
  if (const Sequence* s = value.sequence()) {
    switch (s->kind) {
      case SequenceKind::list:
        return "list";
      case SequenceKind::tuple:
        return "tuple";
      case SequenceKind::range:
        return "range";
      case SequenceKind::keys:
        return "dict_keys";
      case SequenceKind::values:
        return "dict_values";
      case SequenceKind::items:
        return "dict_items";
      case SequenceKind::bytes:
        return "bytes";
      case SequenceKind::iterator:
        return s->label;
    }
  }
  switch (value.object()->kind) {
    case ObjectKind::function:
      return "function";
    case ObjectKind::method:
      return "builtin_function_or_method";
    case ObjectKind::name_space:
      return "Namespace";
    case ObjectKind::macro:
      return "Macro";
    case ObjectKind::loop:
      return "LoopContext";
    case ObjectKind::cycler:
      return "Cycler";
    case ObjectKind::joiner:
      return "Joiner";
  }
  return "object";
}

bool is_true(const Value& value) {
  if (value.is_none() || value.is_undefined()) return false;
  if (auto b = value.get<bool>()) return *b;
  if (auto i = value.get<Integer>()) return *i != 0;
  if (auto d = value.get<double>()) return *d != 0;
  if (auto text = value.text()) return !text->empty();
  if (auto dict = value.dict()) return !dict->entries.empty();
  if (auto s = value.sequence()) return s->kind == SequenceKind::iterator || !s->items.empty();
  return true;
}

Result<std::string> key_spelling(const Value& key) {
  if (auto text = key.text()) return text_spelling(*text);
  if (key.is_none()) return std::string("n");
  if (key.is_undefined()) return std::string("u");
  if (auto b = key.get<bool>()) return std::string(*b ? "i1" : "i0");
  if (auto i = key.get<Integer>()) return fmt::format("i{}", *i);
  if (auto big = key.get<std::shared_ptr<const BigInt>>()) return fmt::format("i{}", (*big)->to_string());
  if (auto d = key.get<double>()) {
    if (*d == std::floor(*d) && std::fabs(*d) < 9e18) return fmt::format("i{}", static_cast<int64_t>(*d));
    return fmt::format("f{}", float_repr(*d));
  }
  if (auto s = key.sequence()) {
    if (s->kind != SequenceKind::tuple) {
      if (s->kind == SequenceKind::range) return fmt::format("r{}", s->label);
      if (s->kind == SequenceKind::iterator) return fmt::format("o{}", static_cast<const void*>(s));
      return error("unhashable type: '{}'", type_name(key));
    }
    std::string spelling = "t(";
    for (const Value& item : s->items) {
      std::string part = TRY(key_spelling(item));
      if (spelling.size() + part.size() > kMaxTextBytes) return error("the key is too large");
      spelling += fmt::format("{}:{}", part.size(), part);
    }
    return spelling + ")";
  }
  if (key.dict()) return error("unhashable type: 'dict'");
  return fmt::format("o{}", static_cast<const void*>(key.object()));
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  bool negative = text.front() == '-';
  if (negative) text.remove_prefix(1);
  size_t e = text.find('e');
  std::string_view exponent_text = text.substr(e + 1);
  int exponent = 0;
  if (exponent_text.front() == '+') exponent_text.remove_prefix(1);
  std::from_chars(exponent_text.data(), exponent_text.data() + exponent_text.size(), exponent);
  std::string digits(text.substr(0, 1));
  if (e > 2) digits += text.substr(2, e - 2);
  std::string result = negative ? "-" : "";
  int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    result += digits.substr(0, 1);
    if (count > 1) result.append(1, '.').append(digits, 1);
    return result + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return result + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1)
    return result + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  return result + digits.substr(0, static_cast<size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<size_t>(exponent) + 1);
}

Result<std::string> integer_text(const Value& value) {
  if (auto b = value.get<bool>()) return std::string(*b ? "1" : "0");
  if (auto i = value.get<Integer>()) return std::to_string(*i);
  const BigInt& big = **value.get<std::shared_ptr<const BigInt>>();
  if (big.bits() > 14284) return error("Exceeds the limit (4300 digits) for integer string conversion");
  return big.to_string();
}

std::string text_repr(std::string_view text) {
  char quote = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    char32_t c = next_code_point(text, at);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (is_printable(c)) {
      append_utf8(out, c);
    } else {
      out += c < 0x100     ? fmt::format("\\x{:02x}", static_cast<uint32_t>(c))
             : c < 0x10000 ? fmt::format("\\u{:04x}", static_cast<uint32_t>(c))
                           : fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    }
  }
  return out + quote;
}

namespace {

Result<void> append_repr(std::string& out, const Value& value, int depth);

Result<void> append_items(std::string& out, const std::vector<Value>& items, int depth) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    TRY(append_repr(out, items[i], depth));
  }
  return {};
}

Result<void> append_dict(std::string& out, const Dict& dict, int depth) {
  out += '{';
  for (size_t i = 0; i < dict.entries.size(); ++i) {
    if (i > 0) out += ", ";
    TRY(append_repr(out, dict.entries[i].first, depth));
    out += ": ";
    TRY(append_repr(out, dict.entries[i].second, depth));
  }
  out += '}';
  return {};
}

Result<void> append_sequence(std::string& out, const Sequence& s, int depth) {
  switch (s.kind) {
    case SequenceKind::list:
      out += '[';
      TRY(append_items(out, s.items, depth));
      out += ']';
      return {};
    case SequenceKind::tuple:
      out += '(';
      TRY(append_items(out, s.items, depth));
      out += s.items.size() == 1 ? ",)" : ")";
      return {};
    case SequenceKind::range:
      out += s.label;
      return {};
    case SequenceKind::keys:
    case SequenceKind::values:
    case SequenceKind::items:
      out += s.kind == SequenceKind::keys     ? "dict_keys(["
             : s.kind == SequenceKind::values ? "dict_values(["
                                              : "dict_items([";
      TRY(append_items(out, s.items, depth));
      out += "])";
      return {};
    case SequenceKind::iterator:
      out += fmt::format("<{} object>", s.label);
      return {};
    case SequenceKind::bytes:
      out += 'b';
      std::string bytes;
      for (const Value& item : s.items) bytes += static_cast<char>(*item.get<Integer>());
      char quote = bytes.find('\'') != std::string::npos && bytes.find('"') == std::string::npos ? '"' : '\'';
      out += quote;
      for (char c : bytes) {
        auto byte = static_cast<unsigned char>(c);
        if (c == quote || c == '\\') out += '\\';
        if (c == '\n' || c == '\r' || c == '\t') {
          out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
        } else {
          out += byte >= 0x20 && byte < 0x7F ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
        }
      }
      out += quote;
      return {};
  }
  return {};
}

Result<void> append_repr(std::string& out, const Value& value, int depth) {
  if (depth > kMaxDepth + 10) return error("the value nests too deeply to be printed");
  if (out.size() > kMaxTextBytes) return error("the printed value is longer than 64 MiB");
  if (value.is_none()) {
    out += "None";
  } else if (value.is_undefined()) {
    out += "Undefined";
  } else if (auto b = value.get<bool>()) {
    out += *b ? "True" : "False";
  } else if (value.is_integer()) {
    out += TRY(integer_text(value));
  } else if (auto d = value.get<double>()) {
    out += float_repr(*d);
  } else if (auto text = value.text()) {
    out += value.is_safe() ? fmt::format("Markup({})", text_repr(*text)) : text_repr(*text);
  } else if (auto dict = value.dict()) {
    TRY(append_dict(out, *dict, depth + 1));
  } else if (auto s = value.sequence()) {
    TRY(append_sequence(out, *s, depth + 1));
  } else if (value.object()->kind == ObjectKind::name_space) {
    out += "<Namespace ";
    TRY(append_dict(out, value.object()->attributes, depth + 1));
    out += '>';
  } else {
    out += fmt::format("<{} {}>", type_name(value), text_repr(value.object()->name));
  }
  return {};
}

}  // namespace

Result<std::string> to_repr(const Value& value) {
  std::string out;
  TRY(append_repr(out, value, 0));
  return out;
}

Result<std::string> to_text(const Value& value) {
  if (auto text = value.text()) return *text;
  if (value.is_undefined()) return std::string();
  return to_repr(value);
}

}  // namespace candor::text::jinja
