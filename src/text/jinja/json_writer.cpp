// tojson (declared in format.h): Python's json.dumps with Transformers' defaults.
#include <algorithm>
#include <cmath>

#include "text/jinja/format.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace candor::text::jinja {

namespace {

void append_string(std::string& out, std::string_view text, bool ascii) {
  static constexpr std::string_view kSpecial = "\"\\\n\r\t\f\b", kLetters = "\"\\nrtfb";
  out += '"';
  for (size_t at = 0; at < text.size();) {
    char32_t c = next_code_point(text, at);
    size_t special = c < 0x80 ? kSpecial.find(static_cast<char>(c)) : std::string_view::npos;
    if (special != std::string_view::npos) {
      out += '\\';
      out += kLetters[special];
    } else if (c < 0x20 || (ascii && c > 0x7E && c < 0x10000)) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else if (ascii && c >= 0x10000) {
      uint32_t rest = static_cast<uint32_t>(c) - 0x10000;
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    } else {
      append_utf8(out, c);
    }
  }
  out += '"';
}

std::string float_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_repr(value);
}

Result<std::string> key_text(const Value& key) {
  if (key.text()) return *key.text();
  if (key.is_none()) return std::string("null");
  if (auto b = key.get<bool>()) return std::string(*b ? "true" : "false");
  if (auto d = key.get<double>()) return float_text(*d);
  if (key.is_integer()) return integer_text(key);
  return error("keys must be str, int, float, bool or None, not {}", type_name(key));
}

class Writer {
 public:
  Writer(Runtime& run, const JsonStyle& style) : run_(run), style_(style) {}
  std::string out;

  Result<void> write(const Value& value, int level) {
    TRY(run_.charge(1));
    if (out.size() > kMaxTextBytes) return error("a string grows beyond 64 MiB");
    if (value.is_none()) {
      out += "null";
    } else if (auto b = value.get<bool>()) {
      out += *b ? "true" : "false";
    } else if (value.is_integer()) {
      out += TRY(integer_text(value));
    } else if (auto d = value.get<double>()) {
      out += float_text(*d);
    } else if (auto text = value.text()) {
      append_string(out, *text, style_.ascii);
    } else if (value.sequence(SequenceKind::list) || value.sequence(SequenceKind::tuple)) {
      return write_list(value.sequence()->items, level);
    } else if (value.dict()) {
      return write_dict(*value.dict(), level);
    } else {
      return error("Object of type {} is not JSON serializable", type_name(value));
    }
    return {};
  }

 private:
  void new_line(int level) {
    if (!style_.indent) return;
    out += '\n';
    for (int i = 0; i < level; ++i) out += *style_.indent;
  }

  Result<void> write_list(const std::vector<Value>& items, int level) {
    out += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += style_.item_separator;
      new_line(level + 1);
      TRY(write(items[i], level + 1));
    }
    if (!items.empty()) new_line(level);
    out += ']';
    return {};
  }

  Result<void> write_dict(const Dict& dict, int level) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::optional<Error> failed;
      std::stable_sort(entries.begin(), entries.end(), [&](auto* a, auto* b) {
        auto less = compare(run_, Comparison::lt, a->first, b->first);
        if (!less && !failed) failed = less.error();
        return less && *less;
      });
      if (failed) return *failed;
    }
    out += '{';
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out += style_.item_separator;
      new_line(level + 1);
      append_string(out, TRY(key_text(entries[i]->first)), style_.ascii);
      out += style_.key_separator;
      TRY(write(entries[i]->second, level + 1));
    }
    if (!entries.empty()) new_line(level);
    out += '}';
    return {};
  }

  Runtime& run_;
  const JsonStyle& style_;
};

}  // namespace

Result<std::string> to_json(Runtime& run, const Value& value, const JsonStyle& style) {
  Writer writer(run, style);
  TRY(writer.write(value, 0));
  TRY(run.charge_text(writer.out.size()));
  return std::move(writer.out);
}

}  // namespace candor::text::jinja
