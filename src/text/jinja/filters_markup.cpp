// Filters about HTML and URLs.
#include <algorithm>

#include "text/jinja/filters_impl.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace candor::text::jinja {

namespace {

Result<Value> escape(const FilterCall& c) {
  Bound b = TRY(c.bind({"value"}));
  if (b[0]->is_safe()) return *b[0];
  return Value(escape_html(TRY(to_text(*b[0]))), true);
}

Result<Value> force_escape(const FilterCall& c) {
  Bound b = TRY(c.bind({"value"}));
  return Value(escape_html(TRY(to_text(*b[0]))), true);
}

Result<Value> safe(const FilterCall& c) {
  Bound b = TRY(c.bind({"value"}));
  return Value(TRY(to_text(*b[0])), true);
}

// Drops comments and tags, runs of white space become one space, and the five HTML entities are read.
Result<Value> strip_tags(const FilterCall& c) {
  Bound b = TRY(c.bind({"value"}));
  std::string text = TRY(to_text(*b[0]))
  , plain, joined;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::string::npos;
    if (text.compare(at, 4, "<!--") == 0) {
      end = text.find("-->", at + 4);
      if (end != std::string::npos) end += 3;
    } else if (text[at] == '<') {
      end = text.find('>', at);
      if (end != std::string::npos) end += 1;
      if (end == std::string::npos) {  // no tag from here on
        plain += text.substr(at);
        break;
      }
    }
    if (end != std::string::npos) {
      at = end;
    } else {
      plain += text[at++];
    }
  }
  bool gap = false;
  for (char32_t point : code_points(plain)) {
    if (is_space(point)) {
      gap = true;
      continue;
    }
    if (gap && !joined.empty()) joined += ' ';
    gap = false;
    append_utf8(joined, point);
  }
  static constexpr std::pair<std::string_view, char> kEntities[] = {{"&lt;", '<'},  {"&gt;", '>'},   {"&quot;", '"'},
                                                                    {"&#34;", '"'}, {"&#39;", '\''}, {"&amp;", '&'}};
  std::string out;
  for (size_t at = 0; at < joined.size();) {
    auto found = std::find_if(std::begin(kEntities), std::end(kEntities),
                              [&](const auto& e) { return joined.compare(at, e.first.size(), e.first) == 0; });
    out += found == std::end(kEntities) ? joined[at] : found->second;
    at += found == std::end(kEntities) ? 1 : found->first.size();
  }
  return Value(std::move(out));
}

std::string quote(std::string_view text, bool query) {
  std::string out;
  for (char ch : text) {
    auto c = static_cast<unsigned char>(ch);
    bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c == '.' ||
                 c == '-' || c == '~';
    if (plain || (c == '/' && !query)) {
      out += ch;
    } else {
      out += query && c == ' ' ? "+" : fmt::format("%{:02X}", c);
    }
  }
  return out;
}

Result<Value> url_encode(const FilterCall& c) {
  Bound b = TRY(c.bind({"value"}));
  const Value& value = *b[0];
  if (value.text() || !(value.dict() || value.sequence())) return Value(quote(TRY(to_text(value)), false));
  std::vector<std::pair<Value, Value>> pairs;
  if (value.dict()) {
    pairs = value.dict()->entries;
  } else {
    for (const Value& item : TRY(iterate(c.run, value))) {
      std::vector<Value> parts = TRY(iterate(c.run, item));
      if (parts.size() != 2) return error("urlencode: expected pairs, got {} items", parts.size());
      pairs.emplace_back(parts[0], parts[1]);
    }
  }
  std::string out;
  for (const auto& [key, item] : pairs) {
    if (!out.empty()) out += '&';
    out += quote(TRY(to_text(key)), true) + "=" + quote(TRY(to_text(item)), true);
    TRY(c.run.charge_text(out.size()));
  }
  return Value(std::move(out));
}

Result<Value> xml_attributes(const FilterCall& c) {
  Bound b = TRY(c.bind({"d", "autospace"}));
  if (!b[0]->dict()) return error("xmlattr: expected a mapping, got {}", type_name(*b[0]));
  std::string out;
  for (const auto& [key, value] : b[0]->dict()->entries) {
    if (value.is_none() || value.is_undefined()) continue;
    std::string name = TRY(to_text(key));
    if (name.find_first_of(" \t\n\r\f\v/>=") != std::string::npos)
      return error("Invalid character in attribute name: {}", text_repr(name));
    std::string words = TRY(to_text(value));
    if (!out.empty()) out += ' ';
    out.append(escape_html(name)).append("=\"").append(value.is_safe() ? words : escape_html(words)).append("\"");
    TRY(c.run.charge_text(out.size()));
  }
  bool space = !b[1] || is_true(*b[1]);
  if (space && !out.empty()) out.insert(0, 1, ' ');
  return Value(std::move(out), c.run.autoescape);
}

}  // namespace

const FilterTable& markup_filters() {
  static const FilterTable kTable = {
      {"e", escape},
      {"escape", escape},
      {"forceescape", force_escape},
      {"safe", safe},
      {"striptags", strip_tags},
      {"urlencode", url_encode},
      {"xmlattr", xml_attributes},
  };
  return kTable;
}

}  // namespace candor::text::jinja
