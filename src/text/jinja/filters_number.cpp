// Filters about numbers, and default.
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "text/jinja/filters_impl.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace candor::text::jinja {

namespace {

// Python's int(text, base): white space around, a sign, single underscores, a prefix that fits the base.
std::optional<Value> parse_integer(std::string_view text, int base) {
  text = strip(text);
  bool negative = text.starts_with("-");
  if (negative || text.starts_with("+")) text.remove_prefix(1);
  char letter = text.size() > 2 && text[0] == '0' ? static_cast<char>(text[1] | 0x20) : ' ';
  int named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
  if (named != 0 && (base == named || base == 0)) {
    text.remove_prefix(2);
    if (text.starts_with("_")) text.remove_prefix(1);
    base = named;
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36 || text.size() > 4300) return std::nullopt;
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    bool between = text[i] == '_' && i > 0 && i + 1 < text.size() && text[i - 1] != '_';
    if (!between) digits += text[i];
  }
  auto value = BigInt::parse(digits, base);
  if (!value) return std::nullopt;
  return Value(negative ? -*value : *value);
}

std::optional<double> parse_float(std::string_view given) {
  std::string text(strip(given));
  if (text.empty() || text.size() > 4300) return std::nullopt;
  std::string lower = to_lower(text);
  std::string_view body = lower;
  bool negative = body.starts_with("-");
  if (negative || body.starts_with("+")) body.remove_prefix(1);
  double value = 0;
  if (body == "inf" || body == "infinity") {
    value = HUGE_VAL;
  } else if (body == "nan") {
    value = NAN;
  } else {
    if (body.empty() || (body[0] != '.' && (body[0] < '0' || body[0] > '9'))) return std::nullopt;
    auto [end, code] = std::from_chars(body.data(), body.data() + body.size(), value);
    if (end != body.data() + body.size()) return std::nullopt;
    if (code == std::errc::result_out_of_range) value = body.find("e-") != std::string_view::npos ? 0 : HUGE_VAL;
  }
  return negative ? -value : value;
}

std::optional<Value> truncate_float(double value) {
  if (!std::isfinite(value)) return std::nullopt;
  if (std::fabs(value) < 9e18) return Value(static_cast<int64_t>(value));
  return parse_integer(fmt::format("{:.0f}", value), 10);  // whole numbers this large print exactly
}

Result<Value> to_integer(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "default", "base"}));
  const Value& value = *b[0];
  Value fallback = b[1].value_or(Value(int64_t{0}));
  if (value.is_undefined()) return undefined_error(value);
  if (value.is_integer()) return value.get<bool>() ? Value(to_big(value)) : value;
  if (auto d = value.get<double>()) return truncate_float(*d).value_or(fallback);
  if (!value.text()) return fallback;
  if (auto parsed = parse_integer(*value.text(), b[2] ? static_cast<int>(TRY(to_index(*b[2]))) : 10)) return *parsed;
  auto as_float = parse_float(*value.text());
  return as_float ? truncate_float(*as_float).value_or(fallback) : fallback;
}

Result<Value> to_float(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "default"}));
  const Value& value = *b[0];
  Value fallback = b[1].value_or(Value(0.0));
  if (value.is_undefined()) return undefined_error(value);
  if (value.is_number()) return Value(to_double(value));
  if (!value.text()) return fallback;
  auto parsed = parse_float(*value.text());
  return parsed ? Value(*parsed) : fallback;
}

Result<Value> absolute(const FilterCall& c) {
  Bound b = TRY(c.bind({"x"}));
  if (b[0]->is_undefined()) return undefined_error(*b[0]);
  if (auto d = b[0]->get<double>()) return Value(std::fabs(*d));
  if (!b[0]->is_integer()) return error("bad operand type for abs(): '{}'", type_name(*b[0]));
  BigInt value = to_big(*b[0]);
  return Value(value.negative() ? -value : value);
}

// Python's round(): half to even on the exact decimal value.
double round_float(double value, int64_t digits) {
  if (!std::isfinite(value) || digits > 320) return value;
  if (digits >= 0) return std::strtod(fmt::format("{:.{}f}", value, digits).c_str(), nullptr);
  if (digits < -308) return 0;
  double scale = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / scale) * scale;
}

Result<Value> round_number(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "precision", "method"}));
  if (b[0]->is_undefined()) return undefined_error(*b[0]);
  if (!b[0]->is_number()) return error("type {} doesn't define __round__ method", type_name(*b[0]));
  int64_t digits = b[1]     ? TRY(to_index(*b[1])) : 0;
  std::string method = b[2] ? TRY(to_text(*b[2])) : "common";
  if (method == "ceil" || method == "floor") {
    double scale = std::pow(10.0, static_cast<double>(digits)), scaled = to_double(*b[0]) * scale;
    return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
  }
  if (method != "common") return error("method must be common, ceil or floor");
  if (b[0]->is_integer()) {
    if (digits >= 0) return Value(to_big(*b[0]));
    if (digits < -18) return Value(int64_t{0});
    int64_t unit = 1;
    for (int64_t i = 0; i < -digits; ++i) unit *= 10;
    BigInt quotient, rest, half(unit / 2);
    BigInt::floor_divide(to_big(*b[0]), BigInt(unit), quotient, rest);
    bool odd = !quotient.is_zero() && [&] {
      BigInt unused, bit;
      BigInt::floor_divide(quotient, BigInt(2), unused, bit);
      return !bit.is_zero();
    }();
    if (rest > half || (rest == half && odd)) quotient = quotient + BigInt(1);
    return Value(quotient * BigInt(unit));
  }
  return Value(round_float(to_double(*b[0]), digits));
}

Result<Value> file_size(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "binary"}));
  Value number = TRY(to_float({c.run, "float", Arguments{{*b[0]}, {}}}));
  double bytes = to_double(number);
  bool binary = b[1] && is_true(*b[1]);
  double base = binary ? 1024 : 1000;
  if (bytes == 1) return Value(std::string("1 Byte"));
  if (bytes < base) return Value(fmt::format("{:.0f} Bytes", bytes));
  static constexpr std::string_view kLetters = "kMGTPEZY";
  double unit = base;
  size_t i = 0;
  while (bytes >= unit * base && i + 1 < kLetters.size()) {
    unit *= base;
    ++i;
  }
  char letter = binary && i == 0 ? 'K' : kLetters[i];
  return Value(fmt::format("{:.1f} {}{}", bytes / unit, letter, binary ? "iB" : "B"));
}

Result<Value> fallback(const FilterCall& c) {
  Bound b = TRY(c.bind({"value", "default_value", "boolean"}));
  bool use = b[0]->is_undefined() || (b[2] && is_true(*b[2]) && !is_true(*b[0]));
  return use ? b[1].value_or(Value(std::string())) : *b[0];
}

}  // namespace

const FilterTable& number_filters() {
  static const FilterTable kTable = {
      {"int", to_integer},           {"float", to_float},   {"abs", absolute}, {"round", round_number},
      {"filesizeformat", file_size}, {"default", fallback}, {"d", fallback},
  };
  return kTable;
}

}  // namespace candor::text::jinja
