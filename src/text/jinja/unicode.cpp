#include "text/jinja/unicode.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/jinja/unicode_upper.h"

namespace candor::text::jinja {

std::optional<size_t> find_invalid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    utf8proc_int32_t point;
    auto bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at;
    auto used = utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(std::min<size_t>(4, text.size() - at)), &point);
    if (used <= 0) return at;
    at += static_cast<size_t>(used);
  }
  return std::nullopt;
}

char32_t next_code_point(std::string_view text, size_t& at) {
  auto lead = static_cast<unsigned char>(text[at]);
  size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (length == 1 || at + length > text.size()) {
    ++at;
    return lead;
  }
  char32_t point = lead & (0xFF >> (length + 1));
  for (size_t i = 1; i < length; ++i) point = point << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3F);
  at += length;
  return point;
}

void append_utf8(std::string& text, char32_t c) {
  utf8proc_uint8_t bytes[4];
  auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
}

std::vector<char32_t> code_points(std::string_view text) {
  std::vector<char32_t> points;
  points.reserve(text.size());
  for (size_t at = 0; at < text.size();) points.push_back(next_code_point(text, at));
  return points;
}

std::string to_utf8(const std::vector<char32_t>& points) {
  std::string text;
  text.reserve(points.size());
  for (char32_t c : points) append_utf8(text, c);
  return text;
}

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> result;
  for (size_t at = 0; at < text.size();) {
    size_t start = at;
    next_code_point(text, at);
    result.emplace_back(text.substr(start, at - start));
  }
  return result;
}

size_t count_code_points(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

size_t byte_offset(std::string_view text, size_t code_point) {
  size_t at = 0;
  while (code_point-- > 0 && at < text.size()) next_code_point(text, at);
  return at;
}

namespace {

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

struct Range {
  char32_t first, last;
};

bool in_ranges(char32_t c, const auto& ranges) {
  return std::any_of(std::begin(ranges), std::end(ranges), [c](Range r) { return r.first <= c && c <= r.last; });
}

void append_upper(std::string& out, char32_t c) {
  auto found = std::lower_bound(std::begin(kLongUpper), std::end(kLongUpper), c,
                                [](const auto& entry, char32_t point) { return entry.first < point; });
  if (found != std::end(kLongUpper) && found->first == c) {
    for (char32_t part : found->second) append_utf8(out, part);
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
  }
}

// The first letter of a word: title case where there is one (ǆ gives ǅ), else the first of the long upper case.
void append_title(std::string& out, char32_t c) {
  std::string upper;
  append_upper(upper, c);
  std::vector<char32_t> points = code_points(upper);
  if (points.size() == 1) {
    append_utf8(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
    return;
  }
  append_utf8(out, points[0]);
  for (size_t i = 1; i < points.size(); ++i) {
    append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(points[i]))));
  }
}

bool is_cased(char32_t c) {
  return is_cased_upper(c) || is_cased_lower(c) || category(c) == UTF8PROC_CATEGORY_LT;
}

// Sigma at the end of a word has its own lower case.
bool is_final_sigma(const std::vector<char32_t>& points, size_t at) {
  auto ignorable = [](char32_t c) {
    auto kind = category(c);
    return kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_CF || kind == UTF8PROC_CATEGORY_LM || c == '\'' ||
           c == '.' || c == ':' || c == 0x2019;
  };
  size_t before = at;
  while (before > 0 && ignorable(points[before - 1])) --before;
  if (before == 0 || !is_cased(points[before - 1])) return false;
  size_t after = at + 1;
  while (after < points.size() && ignorable(points[after])) ++after;
  return after == points.size() || !is_cased(points[after]);
}

void append_lower(std::string& out, const std::vector<char32_t>& points, size_t at) {
  char32_t c = points[at];
  if (c == 0x130) {
    out += "i\u0307";
  } else if (c == 0x3A3) {
    append_utf8(out, is_final_sigma(points, at) ? 0x3C2 : 0x3C3);
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

}  // namespace

bool is_space(char32_t c) {
  static constexpr Range kSpaces[] = {{0x9, 0xD},       {0x1C, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
                                      {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                                      {0x205F, 0x205F}, {0x3000, 0x3000}};
  return in_ranges(c, kSpaces);
}

bool is_cased_upper(char32_t c) {
  return utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0;
}
bool is_cased_lower(char32_t c) {
  return utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0;
}

bool is_alphabetic(char32_t c) {
  auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_ND;
}

bool is_digit(char32_t c) {
  static constexpr Range kDigits[] = {{0xB2, 0xB3},       {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},
                                      {0x2070, 0x2070},   {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},
                                      {0x2474, 0x247C},   {0x2488, 0x2490},   {0x24EA, 0x24EA},   {0x24F5, 0x24FD},
                                      {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},   {0x278A, 0x2792},
                                      {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A}};
  return is_decimal(c) || in_ranges(c, kDigits);
}

bool is_numeric(char32_t c) {
  auto kind = category(c);
  return is_digit(c) || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_NO;
}

bool is_identifier(char32_t c) {
  if (c < 0x80) return c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
  auto kind = category(c);
  return is_alphabetic(c) || is_decimal(c) || kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_MC ||
         kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_PC;
}

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  auto kind = category(c);
  return !(kind >= UTF8PROC_CATEGORY_ZS && kind <= UTF8PROC_CATEGORY_CO) && kind != UTF8PROC_CATEGORY_CN;
}

std::string to_upper(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) append_upper(out, next_code_point(text, at));
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  std::vector<char32_t> points = code_points(text);
  for (size_t i = 0; i < points.size(); ++i) append_lower(out, points, i);
  return out;
}

std::string to_capitalized(std::string_view text) {
  std::string out;
  std::vector<char32_t> points = code_points(text);
  for (size_t i = 0; i < points.size(); ++i) i == 0 ? append_title(out, points[0]) : append_lower(out, points, i);
  return out;
}

std::string to_title(std::string_view text) {
  std::string out;
  std::vector<char32_t> points = code_points(text);
  bool inside = false;
  for (size_t i = 0; i < points.size(); ++i) {
    inside ? append_lower(out, points, i) : append_title(out, points[i]);
    inside = is_cased(points[i]);
  }
  return out;
}

std::string to_swapped(std::string_view text) {
  std::string out;
  std::vector<char32_t> points = code_points(text);
  for (size_t i = 0; i < points.size(); ++i) {
    if (is_cased_upper(points[i])) {
      append_lower(out, points, i);
    } else if (is_cased_lower(points[i])) {
      append_upper(out, points[i]);
    } else {
      append_utf8(out, points[i]);
    }
  }
  return out;
}

std::string to_casefold(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    utf8proc_int32_t folded[8];
    int last_boundary = 0;
    auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(next_code_point(text, at)), folded, 8,
                                     UTF8PROC_CASEFOLD, &last_boundary);
    for (utf8proc_ssize_t i = 0; i < n; ++i) append_utf8(out, static_cast<char32_t>(folded[i]));
  }
  return out;
}

namespace {

template <typename Drop>
std::string_view strip_left_if(std::string_view text, Drop drop) {
  size_t at = 0;
  while (at < text.size()) {
    size_t next = at;
    if (!drop(next_code_point(text, next))) break;
    at = next;
  }
  return text.substr(at);
}

template <typename Drop>
std::string_view strip_right_if(std::string_view text, Drop drop) {
  size_t end = text.size();
  while (end > 0) {
    size_t start = end - 1;
    while (start > 0 && (text[start] & 0xC0) == 0x80) --start;
    size_t at = start;
    if (!drop(next_code_point(text, at))) break;
    end = start;
  }
  return text.substr(0, end);
}

}  // namespace

std::string_view strip_left(std::string_view text) {
  return strip_left_if(text, is_space);
}
std::string_view strip_right(std::string_view text) {
  return strip_right_if(text, is_space);
}
std::string_view strip(std::string_view text) {
  return strip_right(strip_left(text));
}

std::string_view strip_left(std::string_view text, std::string_view set) {
  auto points = code_points(set);
  return strip_left_if(text, [&](char32_t c) { return std::find(points.begin(), points.end(), c) != points.end(); });
}

std::string_view strip_right(std::string_view text, std::string_view set) {
  auto points = code_points(set);
  return strip_right_if(text, [&](char32_t c) { return std::find(points.begin(), points.end(), c) != points.end(); });
}

}  // namespace candor::text::jinja
