// Filters that take text: case, trimming, replacing, wrapping, and JSON.
#include <algorithm>

#include "text/jinja/filters_impl.h"
#include "text/jinja/format.h"
#include "text/jinja/operators.h"
#include "text/jinja/string_methods.h"
#include "text/jinja/unicode.h"

namespace candor::text::jinja {

namespace {

std::string title_words(std::string_view text) {
  std::string out, word;
  auto flush = [&] {
    if (word.empty()) return;
    size_t second = byte_offset(word, 1);
    out += to_upper(word.substr(0, second)) + to_lower(word.substr(second));
    word.clear();
  };
  for (char32_t c : code_points(text)) {
    bool breaks = c == '-' || is_space(c) || c == '(' || c == '{' || c == '[' || c == '<';
    if (breaks) flush();
    append_utf8(breaks ? out : word, c);
  }
  flush();
  return out;
}

template <std::string (*convert)(std::string_view)>
Result<Value> convert_case(const FilterCall& c) {
  Bound b = TRY(c.bind({"s"}));
  return Value(convert(TRY(to_text(*b[0]))), b[0]->is_safe());
}

Result<Value> trim(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "chars"}));
  std::string text = TRY(to_text(*b[0]));
  if (!b[1] || b[1]->is_none()) return Value(std::string(strip(text)), b[0]->is_safe());
  if (!b[1]->text()) return error("strip arg must be None or str");
  TRY(c.run.charge_text(text.size() * (1 + b[1]->text()->size())));
  return Value(std::string(strip_right(strip_left(text, *b[1]->text()), *b[1]->text())), b[0]->is_safe());
}

Result<Value> replace(const FilterCall& c) {
  Bound b = TRY(c.bind({"s", "old", "new", "count"}, 3));
  std::string from = TRY(to_text(*b[1]))
  , to = TRY(to_text(*b[2]));
  int64_t limit = b[3] && !b[3]->is_none() ? TRY(to_index(*b[3])) : -1;
  if (b[0]->is_safe() && !b[2]->is_safe()) to = escape_html(to);
  return Value(TRY(replace_text(c.run, TRY(to_text(*b[0])), from, to, limit)), b[0]->is_safe());
}

Result<Value> string(const FilterCall& c) {
  Bound b = TRY(c.bind({"object"}));
  return Value(TRY(to_text(*b[0])), b[0]->is_safe());
}

Result<Value> center(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "width"}));
  return Value(TRY(pad_center(c.run, TRY(to_text(*b[0])), b[1] ? TRY(to_index(*b[1])) : 80, " ")));
}

Result<Value> indent(const FilterCall& c) {
  Bound b = TRY(c.bind({"s", "width", "first", "blank"}));
  std::string space(4, ' ');
  if (b[1] && b[1]->text()) {
    space = *b[1]->text();
  } else if (b[1]) {
    int64_t width = std::clamp<int64_t>(TRY(to_index(*b[1])), 0, 1 << 20);
    space.assign(static_cast<size_t>(width), ' ');
  }
  bool first = b[2] && is_true(*b[2]), blank = b[3] && is_true(*b[3]);
  std::string out = first ? space : "";
  std::vector<std::string> lines = split_lines(TRY(to_text(*b[0])) + "\n", false);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += space;
    out += lines[i];
    TRY(c.run.charge_text(space.size() + lines[i].size()));
    if (out.size() > kMaxTextBytes) return error("a string grows beyond 64 MiB");
  }
  return Value(std::move(out), b[0]->is_safe());
}

Result<Value> truncate(const FilterCall& c) {
  Bound b = TRY(c.bind({"s", "length", "killwords", "end", "leeway"}));
  std::string text = TRY(to_text(*b[0]))
  , end = b[3] ? TRY(to_text(*b[3])) : "...";
  int64_t length = b[1] ? TRY(to_index(*b[1])) : 255, leeway = b[4] && !b[4]->is_none() ? TRY(to_index(*b[4])) : 5;
  auto tail = static_cast<int64_t>(count_code_points(end));
  if (length < tail) return error("expected length >= {}, got {}", tail, length);
  if (leeway < 0) return error("expected leeway >= 0, got {}", leeway);
  if (static_cast<int64_t>(count_code_points(text)) <= length + std::min<int64_t>(leeway, 1 << 30))
    return Value(std::move(text), b[0]->is_safe());
  text.resize(byte_offset(text, static_cast<size_t>(length - tail)));
  bool kill_words = b[2] && is_true(*b[2]);
  size_t space = kill_words ? std::string::npos : text.rfind(' ');
  if (space != std::string::npos) text.resize(space);
  return Value(text + end, b[0]->is_safe());
}

Result<Value> word_count(const FilterCall& c) {
  Bound b = TRY(c.bind({"s"}));
  int64_t count = 0;
  bool inside = false;
  for (char32_t point : code_points(TRY(to_text(*b[0])))) {
    bool word = point == '_' || is_alphabetic(point) || is_numeric(point);
    count += word && !inside;
    inside = word;
  }
  return Value(count);
}

// Lines of at most `width` characters, broken at white space; a word that is longer is cut.
Result<Value> word_wrap(const FilterCall& c) {
  Bound b = TRY(c.bind({"s", "width", "break_long_words", "wrapstring"}));
  int64_t width = b[1] ? TRY(to_index(*b[1])) : 79;
  if (width <= 0) return error("invalid width {} (must be > 0)", width);
  bool cut = !b[2] || is_true(*b[2]);
  std::string newline = b[3] && !b[3]->is_none() ? TRY(to_text(*b[3])) : "\n";
  std::string out;
  std::vector<std::string> lines = split_lines(TRY(to_text(*b[0])), false);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += newline;
    int64_t column = 0;
    std::string_view rest = lines[i];
    while (!rest.empty()) {
      size_t space = rest.size() - strip_left(rest).size(), word = space;
      for (size_t next = word; next < rest.size(); word = next) {
        if (is_space(next_code_point(rest, next))) break;
      }
      auto gap = static_cast<int64_t>(count_code_points(rest.substr(0, space)));
      auto size = static_cast<int64_t>(count_code_points(rest.substr(space, word - space)));
      if (size == 0) break;  // white space at the end of a line goes
      if (column > 0 && column + gap + size > width) {
        out += newline;
        column = 0;
        gap = 0;
      } else {
        out += rest.substr(0, space);
      }
      if (cut && column + gap + size > width) {
        word = space + byte_offset(rest.substr(space), static_cast<size_t>(std::max<int64_t>(1, width - column - gap)));
        size = width;
      }
      out += rest.substr(space, word - space);
      column += gap + size;
      rest.remove_prefix(word);
      TRY(c.run.charge(1 + newline.size() / 32));
      if (out.size() > kMaxTextBytes) return error("a string grows beyond 64 MiB");
    }
  }
  return Value(std::move(out));
}

Result<Value> format(const FilterCall& c) {
  const auto& given = c.arguments.positional;
  if (given.size() > 1 && !c.arguments.named.empty())
    return error("can't handle positional and keyword arguments at the same time");
  Value values = make_tuple({given.begin() + 1, given.end()});
  if (!c.arguments.named.empty()) {
    Dict named;
    for (const auto& [name, value] : c.arguments.named) named.insert_text(name, value);
    values = make_dict(std::move(named));
  }
  return format_percent(c.run, Value(TRY(to_text(given[0])), given[0].is_safe()), values);
}

Result<Value> tojson(const FilterCall& c) {
  Bound b = TRY(c.bind({"x", "ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ascii = b[1] && is_true(*b[1]);
  style.sort_keys = b[4] && is_true(*b[4]);
  if (b[2] && b[2]->text()) {
    style.indent = *b[2]->text();
  } else if (b[2] && !b[2]->is_none()) {
    style.indent = std::string(static_cast<size_t>(std::clamp<int64_t>(TRY(to_index(*b[2])), 0, 1024)), ' ');
  }
  if (style.indent) style.item_separator = ",";
  if (b[3] && !b[3]->is_none()) {
    std::vector<Value> pair = TRY(iterate(c.run, *b[3]));
    if (pair.size() != 2 || !pair[0].text() || !pair[1].text())
      return error("tojson: separators must be a pair of strings");
    style.item_separator = *pair[0].text();
    style.key_separator = *pair[1].text();
  }
  return Value(TRY(to_json(c.run, *b[0], style)));
}

}  // namespace

const FilterTable& text_filters() {
  static const FilterTable kTable = {
      {"upper", convert_case<to_upper>},
      {"lower", convert_case<to_lower>},
      {"capitalize", convert_case<to_capitalized>},
      {"title", convert_case<title_words>},
      {"trim", trim},
      {"replace", replace},
      {"string", string},
      {"center", center},
      {"indent", indent},
      {"truncate", truncate},
      {"wordcount", word_count},
      {"wordwrap", word_wrap},
      {"format", format},
      {"tojson", tojson},
  };
  return kTable;
}

}  // namespace candor::text::jinja
