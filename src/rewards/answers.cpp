#include "rewards/answers.h"

#include <array>
#include <utility>

#include "base/nearest_name.h"

namespace candor::rewards {
namespace {

using text::Json;

constexpr std::string_view kMinus = "\xE2\x88\x92";  // U+2212
constexpr size_t kLongestExponent = 9;               // digits; a longer one is no number that anybody means

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// What may stand around a number without changing it.
std::string_view bare(std::string_view text) {
  text = trimmed(text);
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.ends_with('%')) text.remove_suffix(text.ends_with("\\%") ? 2 : 1);
  return trimmed(text);
}

size_t digits_at(std::string_view text, size_t at) {
  size_t end = at;
  while (end < text.size() && is_digit(text[end])) ++end;
  return end - at;
}

// Length of the unsigned number at `at`, 0 if there is none. A comma belongs to it only where exactly three digits
// follow each, a full stop only where a digit does.
size_t unsigned_length(std::string_view text, size_t at) {
  size_t end = at + digits_at(text, at);
  const size_t whole = end - at;
  if (whole >= 1 && whole <= 3) {
    while (end < text.size() && text[end] == ',' && digits_at(text, end + 1) == 3) end += 4;
  }
  if (end < text.size() && text[end] == '.') {
    const size_t fraction = digits_at(text, end + 1);
    if (fraction > 0) end += 1 + fraction;
  }
  if (end > at && end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    const size_t sign = end + 1 < text.size() && (text[end + 1] == '-' || text[end + 1] == '+') ? 1 : 0;
    const size_t exponent = digits_at(text, end + 1 + sign);
    if (exponent > 0 && exponent <= kLongestExponent) end += 1 + sign + exponent;
  }
  return end - at;
}

struct Span {
  size_t begin = 0, end = 0;
};

// The first unsigned number that starts at or after `from`. A full stop starts one (".5") only where nothing that it
// may end stands before it.
std::optional<Span> find_number(std::string_view text, size_t from) {
  for (size_t i = from; i < text.size(); ++i) {
    if (!is_digit(text[i]) && text[i] != '.') continue;
    const char previous = i > 0 ? text[i - 1] : ' ';
    if (text[i] == '.' && (is_digit(previous) || is_letter(previous) || previous == '.')) continue;
    if (const size_t length = unsigned_length(text, i); length > 0) return Span{i, i + length};
  }
  return std::nullopt;
}

// The number there, with the sign before it or before its currency sign. A minus after a digit, a letter or a closing
// bracket is an operator.
std::string number_at(std::string_view text, Span span) {
  std::string_view before = text.substr(0, span.begin);
  if (before.ends_with('$')) before.remove_suffix(before.ends_with("\\$") ? 2 : 1);
  const size_t minus = before.ends_with('-') ? 1 : before.ends_with(kMinus) ? kMinus.size() : 0;
  before.remove_suffix(minus);
  const char previous = before.empty() ? ' ' : before.back();
  const bool is_operator = is_digit(previous) || is_letter(previous) || previous == ')' || previous == ']';
  std::string number;
  if (minus > 0 && !is_operator) number += '-';
  number.append(text, span.begin, span.end - span.begin);
  return number;
}

std::optional<std::string> boxed_answer(std::string_view text) {
  constexpr std::string_view kOpen = "\\boxed{";
  const size_t open = text.rfind(kOpen);
  if (open == std::string_view::npos) return std::nullopt;
  const size_t begin = open + kOpen.size();
  int depth = 1;
  for (size_t i = begin; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return std::string(trimmed(text.substr(begin, i - begin)));
  }
  return std::nullopt;  // not closed: the completion was cut off
}

std::optional<std::string> gsm8k_answer(std::string_view text) {
  constexpr std::string_view kMark = "####";
  const size_t mark = text.find(kMark);
  if (mark == std::string_view::npos) return std::nullopt;
  const std::string_view line = text.substr(mark + kMark.size(), text.find('\n', mark) - mark - kMark.size());
  if (const auto span = find_number(line, 0)) return number_at(line, *span);
  const std::string_view answer = trimmed(line);
  if (answer.empty()) return std::nullopt;
  return std::string(answer);
}

Result<std::string> text_of(const Json& value, std::string_view column) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) return value.dump();
  return error("the column \"{}\" is a {}. Expected text or a number.", column, value.type_name());
}

}  // namespace

Result<AnswerExtractor> make_extractor(std::string_view name) {
  AnswerExtractor extractor;
  if (constexpr std::string_view kPrefix = "regex:"; name.starts_with(kPrefix)) {
    extractor.extraction = Extraction::kRegex;
    auto regex = Regex::compile(name.substr(kPrefix.size()));
    if (!regex) return error("[accuracy] {}", regex.error().message);
    extractor.regex = std::move(*regex);
    return extractor;
  }
  const std::array<std::string, 5> names = {"last_number", "boxed", "gsm8k", "exact", "regex:"};
  for (size_t i = 0; i < 4; ++i) {
    if (name != names[i]) continue;
    extractor.extraction = static_cast<Extraction>(i);
    return extractor;
  }
  return error("[accuracy] unknown extraction \"{}\". Expected last_number, boxed, gsm8k, exact or regex:PATTERN.{}",
               name, did_you_mean(name, names));
}

Result<std::optional<std::string>> extract_answer(std::string_view text, const AnswerExtractor& extractor) {
  switch (extractor.extraction) {
    case Extraction::kLastNumber:
      return last_number(text);
    case Extraction::kBoxed:
      return boxed_answer(text);
    case Extraction::kGsm8k:
      return gsm8k_answer(text);
    case Extraction::kExact:
      return std::optional(std::string(trimmed(text)));
    case Extraction::kRegex:
      return extractor.regex->last_match(text);
  }
  return std::optional<std::string>();
}

Result<std::optional<std::string>> gold_answer(const Json& row, const AnswerExtractor& extractor) {
  const char* column = row.contains("answer") ? "answer" : "solution";
  const auto value = row.find(column);
  if (value == row.end()) return error("the row has no column \"answer\" (or \"solution\") to compare with. Add it.");
  if (value->is_null()) return std::optional<std::string>();
  const std::string whole = TRY(text_of(*value, column));
  std::optional<std::string> gold = gsm8k_answer(whole);
  if (!gold) gold = boxed_answer(whole);
  if (!gold) gold = std::string(trimmed(whole));
  if (gold->empty()) return error("the column \"{}\" is empty. Give the answer, or null where there is none.", column);
  if (extractor.extraction == Extraction::kLastNumber) {
    std::optional<std::string> number = last_number(*gold);
    if (!number) {
      return error("the column \"{}\" is \"{}\", which holds no number. Choose another extraction, e.g. exact.", column,
                   gold->substr(0, 80));
    }
    return number;
  }
  return gold;
}

bool same_answer(std::string_view a, std::string_view b) {
  const std::optional<Decimal> x = parse_decimal(bare(a)), y = parse_decimal(bare(b));
  if (x && y) return *x == *y;
  return trimmed(a) == trimmed(b);
}

std::optional<Decimal> parse_decimal(std::string_view text) {
  Decimal number;
  const auto take = [&](std::string_view prefix) {
    if (!text.starts_with(prefix)) return false;
    text.remove_prefix(prefix.size());
    return true;
  };
  const auto take_currency = [&] { return take("\\$") || take("$"); };
  take_currency();
  if (take("-") || take(kMinus)) {
    number.negative = true;
  } else {
    take("+");
  }
  take_currency();
  if (text.empty() || unsigned_length(text, 0) != text.size()) return std::nullopt;
  size_t i = 0;
  bool fraction = false;
  for (; i < text.size() && text[i] != 'e' && text[i] != 'E'; ++i) {
    if (text[i] == '.') fraction = true;
    if (!is_digit(text[i])) continue;
    number.digits += text[i];
    if (fraction) --number.exponent;
  }
  if (i < text.size()) {
    int64_t exponent = 0;
    for (const char c : text.substr(i + 1)) {
      if (is_digit(c)) exponent = exponent * 10 + (c - '0');
    }
    number.exponent += text[i + 1] == '-' ? -exponent : exponent;
  }
  const size_t first = number.digits.find_first_not_of('0');
  if (first == std::string::npos) return Decimal{};
  const size_t last = number.digits.find_last_not_of('0');
  number.exponent += static_cast<int64_t>(number.digits.size() - 1 - last);
  number.digits = number.digits.substr(first, last + 1 - first);
  return number;
}

std::optional<std::string> last_number(std::string_view text) {
  std::optional<Span> last;
  for (auto span = find_number(text, 0); span; span = find_number(text, span->end)) last = span;
  if (!last) return std::nullopt;
  return number_at(text, *last);
}

}  // namespace candor::rewards
