#include "text/jinja/string_methods.h"

#include <algorithm>
#include <functional>
#include <map>

#include "text/jinja/format.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace candor::text::jinja {

Result<std::string> replace_text(Runtime& run, std::string_view text, std::string_view from, std::string_view to,
                                 int64_t limit) {
  std::string out;
  size_t at = 0;
  for (int64_t done = 0; limit < 0 || done < limit; ++done) {
    size_t found = from.empty() ? at : text.find(from, at);
    if (found == std::string_view::npos) break;
    out.append(text.substr(at, found - at));
    out.append(to);
    if (out.size() > kMaxTextBytes) return error("a string grows beyond 64 MiB");
    at = found + from.size();
    if (from.empty()) {
      if (at >= text.size()) break;
      next_code_point(text, at);
      out.append(text.substr(found, at - found));
    }
  }
  if (at < text.size()) out.append(text.substr(at));
  TRY(run.charge_text(out.size() + text.size()));
  return out;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  size_t start = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    char32_t c = next_code_point(text, at);
    bool ends = (c >= 0xA && c <= 0xD) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!ends) continue;
    if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.emplace_back(text.substr(start, (keep_ends ? at : end) - start));
    start = at;
  }
  if (start < text.size()) lines.emplace_back(text.substr(start));
  return lines;
}

namespace {

Result<std::string> padding(Runtime& run, int64_t count, std::string_view fill) {
  if (count > static_cast<int64_t>(kMaxTextBytes / 4)) return error("a string grows beyond 64 MiB");
  TRY(run.charge_text(static_cast<size_t>(std::max<int64_t>(0, count)) * fill.size()));
  std::string out;
  for (int64_t i = 0; i < count; ++i) out += fill;
  return out;
}

}  // namespace

Result<std::string> pad_center(Runtime& run, std::string_view text, int64_t width, std::string_view fill) {
  int64_t total = width - static_cast<int64_t>(count_code_points(text));
  if (total <= 0) return std::string(text);
  int64_t left = total / 2 + (total & width & 1);
  return TRY(padding(run, left, fill))
  +std::string(text) + TRY(padding(run, total - left, fill));
}

bool has_case(std::string_view text, bool upper) {
  bool any = false;
  for (char32_t c : code_points(text)) {
    if (upper ? is_cased_lower(c) : is_cased_upper(c)) return false;
    any |= upper ? is_cased_upper(c) : is_cased_lower(c);
  }
  return any;
}

namespace {

struct StringCall {
  Runtime& run;
  const std::string& text;
  bool safe;
  const std::string& name;
  const Arguments& arguments;

  Value same(std::string result) const { return Value(std::move(result), safe); }
};

Result<std::string> need_text(const Value& value, std::string_view what) {
  if (value.is_undefined()) return undefined_error(value);
  if (!value.text()) return error("{} must be str, not {}", what, type_name(value));
  return *value.text();
}

Result<Value> split(const StringCall& c) {
  bool from_right = c.name == "rsplit";
  Bound b = TRY(bind(c.name, {"sep", "maxsplit"}, 0, c.arguments));
  int64_t limit = b[1] ? TRY(to_index(*b[1])) : -1;
  std::vector<Value> parts;
  std::string_view rest = c.text;
  auto more = [&] { return limit < 0 || static_cast<int64_t>(parts.size()) < limit; };
  if (!b[0] || b[0]->is_none()) {
    rest = from_right ? strip_right(rest) : strip_left(rest);
    while (!rest.empty()) {
      size_t cut = 0, width = 0;
      bool found = false;
      if (more()) {
        for (size_t at = 0; at < rest.size();) {
          size_t start = at;
          if (!is_space(next_code_point(rest, at))) continue;
          found = true;
          cut = start;
          width = at - start;
          if (!from_right) break;
        }
      }
      if (!found) {
        parts.push_back(c.same(std::string(rest)));
        break;
      }
      parts.push_back(c.same(std::string(from_right ? rest.substr(cut + width) : rest.substr(0, cut))));
      rest = from_right ? strip_right(rest.substr(0, cut)) : strip_left(rest.substr(cut + width));
      TRY(c.run.charge(1 + (from_right ? rest.size() : 0) / 32));
    }
  } else {
    std::string separator = TRY(need_text(*b[0], "sep"));
    if (separator.empty()) return error("empty separator");
    while (true) {
      size_t cut = !more() ? std::string_view::npos : from_right ? rest.rfind(separator) : rest.find(separator);
      if (cut == std::string_view::npos) break;
      parts.push_back(c.same(std::string(from_right ? rest.substr(cut + separator.size()) : rest.substr(0, cut))));
      rest = from_right ? rest.substr(0, cut) : rest.substr(cut + separator.size());
    }
    parts.push_back(c.same(std::string(rest)));
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  TRY(c.run.charge(parts.size()));
  return make_list(std::move(parts));
}

Result<Value> strip_call(const StringCall& c) {
  Bound b = TRY(bind(c.name, {"chars"}, 0, c.arguments));
  std::string_view text = c.text;
  bool set = b[0] && !b[0]->is_none();
  std::string points = set ? TRY(need_text(*b[0], "strip arg")) : "";
  if (set) TRY(c.run.charge_text(text.size() * (1 + points.size())));
  if (c.name != "rstrip") text = set ? strip_left(text, points) : strip_left(text);
  if (c.name != "lstrip") text = set ? strip_right(text, points) : strip_right(text);
  return c.same(std::string(text));
}

// The part of the text from code point `start` to `stop`, as Python's slices count.
struct Window {
  std::string_view text;
  size_t start;  // code points before it
  bool inside;   // false: start lies behind the end
};

Result<Window> window(const StringCall& c, const std::optional<Value>& start, const std::optional<Value>& stop) {
  auto size = static_cast<int64_t>(count_code_points(c.text));
  auto place = [&](const std::optional<Value>& value, int64_t absent) -> Result<int64_t> {
    if (!value || value->is_none()) return absent;
    int64_t index = TRY(to_index(*value));
    return index < 0 ? std::max<int64_t>(0, index + size) : index;
  };
  int64_t from = TRY(place(start, 0))
  , to = std::min(size, TRY(place(stop, size)));
  if (from > size || from > to) return Window{{}, 0, false};
  size_t first = byte_offset(c.text, static_cast<size_t>(from)), last = byte_offset(c.text, static_cast<size_t>(to));
  return Window{std::string_view(c.text).substr(first, last - first), static_cast<size_t>(from), true};
}

Result<Value> starts_or_ends(const StringCall& c) {
  Bound b = TRY(bind(c.name, {"prefix", "start", "end"}, 1, c.arguments));
  Window w = TRY(window(c, b[1], b[2]));
  std::vector<Value> candidates{*b[0]};
  if (auto tuple = b[0]->sequence(SequenceKind::tuple)) candidates = tuple->items;
  bool found = false;
  for (const Value& candidate : candidates) {
    std::string part = TRY(need_text(candidate, fmt::format("{} first arg", c.name)));
    found |= w.inside && (c.name == "startswith" ? w.text.starts_with(part) : w.text.ends_with(part));
  }
  return Value(found);
}

Result<Value> find_call(const StringCall& c) {
  Bound b = TRY(bind(c.name, {"sub", "start", "end"}, 1, c.arguments));
  std::string part = TRY(need_text(*b[0], "sub"));
  Window w = TRY(window(c, b[1], b[2]));
  if (c.name == "count") {
    int64_t count = 0;
    if (!w.inside) return Value(count);
    if (part.empty()) return Value(static_cast<int64_t>(count_code_points(w.text)) + 1);
    for (size_t at = w.text.find(part); at != std::string_view::npos; at = w.text.find(part, at + part.size())) ++count;
    return Value(count);
  }
  bool right = c.name[0] == 'r';
  size_t at = !w.inside ? std::string_view::npos : right ? w.text.rfind(part) : w.text.find(part);
  if (at != std::string_view::npos)
    return Value(static_cast<int64_t>(w.start + count_code_points(w.text.substr(0, at))));
  if (c.name.ends_with("index")) return error("substring not found");
  return Value(int64_t{-1});
}

Result<Value> replace_call(const StringCall& c) {
  Bound b = TRY(bind(c.name, {"old", "new", "count"}, 2, c.arguments));
  std::string from = TRY(need_text(*b[0], "replace() argument 1"))
  , to = TRY(need_text(*b[1], "replace() argument 2"));
  if (c.safe && !b[1]->is_safe()) to = escape_html(to);
  return c.same(TRY(replace_text(c.run, c.text, from, to, b[2] ? TRY(to_index(*b[2])) : -1)));
}

Result<Value> join_call(const StringCall& c) {
  Bound b = TRY(bind(c.name, {"iterable"}, 1, c.arguments));
  std::string out;
  size_t place = 0;
  for (const Value& item : TRY(iterate(c.run, *b[0]))) {
    if (!item.text()) return error("sequence item {}: expected str instance, {} found", place, type_name(item));
    if (place++ > 0) out += c.text;
    out += c.safe && !item.is_safe() ? escape_html(*item.text()) : *item.text();
    if (out.size() > kMaxTextBytes) return error("a string grows beyond 64 MiB");
  }
  TRY(c.run.charge_text(out.size()));
  return c.same(std::move(out));
}

Result<Value> partition(const StringCall& c) {
  Bound b = TRY(bind(c.name, {"sep"}, 1, c.arguments));
  std::string separator = TRY(need_text(*b[0], "sep"));
  if (separator.empty()) return error("empty separator");
  bool right = c.name == "rpartition";
  size_t at = right ? c.text.rfind(separator) : c.text.find(separator);
  std::vector<std::string> parts{c.text, "", ""};
  if (at != std::string::npos) {
    parts = {c.text.substr(0, at), separator, c.text.substr(at + separator.size())};
  } else if (right) {
    parts = {"", "", c.text};
  }
  std::vector<Value> values;
  for (std::string& part : parts) values.push_back(c.same(std::move(part)));
  return make_tuple(std::move(values));
}

Result<Value> pad(const StringCall& c) {
  Bound b = TRY(bind(c.name, {"width", "fillchar"}, 1, c.arguments));
  int64_t width = TRY(to_index(*b[0]));
  std::string fill = b[1] ? TRY(need_text(*b[1], "The fill character")) : " ";
  if (count_code_points(fill) != 1) return error("The fill character must be exactly one character long");
  if (c.name == "center") return c.same(TRY(pad_center(c.run, c.text, width, fill)));
  std::string space = TRY(padding(c.run, width - static_cast<int64_t>(count_code_points(c.text)), fill));
  return c.same(c.name == "ljust" ? c.text + space : space + c.text);
}

Result<Value> zero_fill(const StringCall& c) {
  Bound b = TRY(bind(c.name, {"width"}, 1, c.arguments));
  std::string zeros = TRY(padding(c.run, TRY(to_index(*b[0])) - static_cast<int64_t>(count_code_points(c.text)), "0"));
  size_t sign = !c.text.empty() && (c.text[0] == '-' || c.text[0] == '+') ? 1 : 0;
  return c.same(c.text.substr(0, sign) + zeros + c.text.substr(sign));
}

Result<Value> expand_tabs(const StringCall& c) {
  Bound b = TRY(bind(c.name, {"tabsize"}, 0, c.arguments));
  int64_t size = b[0] ? TRY(to_index(*b[0])) : 8, column = 0;
  std::string out;
  for (char32_t point : code_points(c.text)) {
    if (point == '\t') {
      int64_t count = size > 0 ? size - column % size : 0;
      out += TRY(padding(c.run, count, " "));
      column += count;
    } else {
      append_utf8(out, point);
      column = point == '\n' || point == '\r' ? 0 : column + 1;
    }
    if (out.size() > kMaxTextBytes) return error("a string grows beyond 64 MiB");
  }
  return c.same(std::move(out));
}

Result<Value> remove_affix(const StringCall& c) {
  Bound b = TRY(bind(c.name, {"affix"}, 1, c.arguments));
  std::string affix = TRY(need_text(*b[0], c.name + "() argument"));
  if (c.name == "removeprefix") return c.same(c.text.starts_with(affix) ? c.text.substr(affix.size()) : c.text);
  bool ends = !affix.empty() && c.text.ends_with(affix);
  return c.same(ends ? c.text.substr(0, c.text.size() - affix.size()) : c.text);
}

Result<Value> lines(const StringCall& c) {
  Bound b = TRY(bind(c.name, {"keepends"}, 0, c.arguments));
  std::vector<Value> items;
  for (std::string& line : split_lines(c.text, b[0] && is_true(*b[0]))) items.push_back(c.same(std::move(line)));
  TRY(c.run.charge(items.size()));
  return make_list(std::move(items));
}

Result<Value> encode(const StringCall& c) {
  Bound b = TRY(bind(c.name, {"encoding", "errors"}, 0, c.arguments));
  if (b[0] && to_lower(TRY(need_text(*b[0], "encoding"))) != "utf-8" && *b[0]->text() != "utf8") {
    return error("encode() knows only utf-8");
  }
  TRY(c.run.charge(c.text.size()));
  std::vector<Value> bytes;
  for (char byte : c.text) bytes.emplace_back(int64_t{static_cast<unsigned char>(byte)});
  return make_sequence(SequenceKind::bytes, std::move(bytes));
}

template <std::string (*convert)(std::string_view)>
Result<Value> convert_case(const StringCall& c) {
  TRY(bind(c.name, {}, 0, c.arguments));
  return c.same(convert(c.text));
}

template <bool (*holds)(char32_t)>
Result<Value> all_are(const StringCall& c) {
  TRY(bind(c.name, {}, 0, c.arguments));
  auto points = code_points(c.text);
  return Value(!points.empty() && std::all_of(points.begin(), points.end(), holds));
}

bool is_alphanumeric(char32_t c) {
  return is_alphabetic(c) || is_numeric(c);
}

Result<Value> is_upper_or_lower(const StringCall& c) {
  TRY(bind(c.name, {}, 0, c.arguments));
  return Value(has_case(c.text, c.name == "isupper"));
}

Result<Value> is_title(const StringCall& c) {
  TRY(bind(c.name, {}, 0, c.arguments));
  bool any = has_case(c.text, true) || has_case(c.text, false) || to_lower(c.text) != to_upper(c.text);
  return Value(any && to_title(c.text) == c.text);
}

Result<Value> is_name(const StringCall& c) {
  TRY(bind(c.name, {}, 0, c.arguments));
  auto points = code_points(c.text);
  return Value(!points.empty() && !is_decimal(points[0]) && std::all_of(points.begin(), points.end(), is_identifier));
}

Result<Value> format_call(const StringCall& c) {
  return c.same(TRY(format_braces(c.run, c.text, c.arguments)));
}

using StringMethod = Result<Value> (*)(const StringCall&);

const std::map<std::string_view, StringMethod>& string_methods() {
  static const std::map<std::string_view, StringMethod> kMethods = {
      {"split", split},
      {"rsplit", split},
      {"strip", strip_call},
      {"lstrip", strip_call},
      {"rstrip", strip_call},
      {"startswith", starts_or_ends},
      {"endswith", starts_or_ends},
      {"find", find_call},
      {"rfind", find_call},
      {"index", find_call},
      {"rindex", find_call},
      {"count", find_call},
      {"replace", replace_call},
      {"join", join_call},
      {"partition", partition},
      {"rpartition", partition},
      {"ljust", pad},
      {"rjust", pad},
      {"center", pad},
      {"zfill", zero_fill},
      {"expandtabs", expand_tabs},
      {"removeprefix", remove_affix},
      {"removesuffix", remove_affix},
      {"splitlines", lines},
      {"encode", encode},
      {"format", format_call},
      {"upper", convert_case<to_upper>},
      {"lower", convert_case<to_lower>},
      {"title", convert_case<to_title>},
      {"capitalize", convert_case<to_capitalized>},
      {"swapcase", convert_case<to_swapped>},
      {"casefold", convert_case<to_casefold>},
      {"isdigit", all_are<is_digit>},
      {"isdecimal", all_are<is_decimal>},
      {"isnumeric", all_are<is_numeric>},
      {"isalpha", all_are<is_alphabetic>},
      {"isalnum", all_are<is_alphanumeric>},
      {"isspace", all_are<is_space>},
      {"isupper", is_upper_or_lower},
      {"islower", is_upper_or_lower},
      {"istitle", is_title},
      {"isidentifier", is_name},
  };
  return kMethods;
}

}  // namespace

bool is_string_method(std::string_view name) {
  return string_methods().contains(name);
}

Result<Value> call_string_method(Runtime& run, const Value& self, const std::string& name, const Arguments& arguments) {
  TRY(run.charge_text(self.text()->size()));
  return string_methods().at(name)({run, *self.text(), self.is_safe(), name, arguments});
}

}  // namespace candor::text::jinja
