// `'%s' % x` and `'{}'.format(x)`, with the conversions Python gives to strings and numbers.
#include "text/jinja/format.h"

#include <algorithm>
#include <cmath>

#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace candor::text::jinja {

namespace {

constexpr int64_t kMaxWidth = 1 << 20;

struct Spec {
  std::string fill = " ";
  char align = 0;  // < > ^ =
  char sign = 0;   // + or space
  bool alternate = false, zero = false, thousands = false;
  int64_t width = 0;
  std::optional<int64_t> precision;
  char type = 0;
};

std::string in_base(BigInt magnitude, int base, bool upper) {
  if (base == 10) return magnitude.to_string();
  if (magnitude.is_zero()) return "0";
  std::string digits;
  while (!magnitude.is_zero()) {
    BigInt quotient, rest;
    BigInt::floor_divide(magnitude, BigInt(base), quotient, rest);
    digits += "0123456789abcdef"[*rest.to_int64()];
    magnitude = std::move(quotient);
  }
  std::reverse(digits.begin(), digits.end());
  return upper ? to_upper(digits) : digits;
}

// Digits without a sign.
Result<std::string> float_digits(double value, const Spec& spec, char type) {
  value = std::fabs(value);
  if (!std::isfinite(value)) return std::string(std::isnan(value) ? "nan" : "inf");
  int64_t precision = spec.precision.value_or(6);
  if (precision > 1000) return error("format: a precision of {} is too large", precision);
  char lower = static_cast<char>(type | 0x20);
  if (lower == 'f') return fmt::format("{:.{}f}", value, precision);
  if (lower == 'e') return fmt::format("{:.{}e}", value, precision);
  if (lower == '%') return fmt::format("{:.{}f}%", value * 100, precision);
  return spec.alternate ? fmt::format("{:#.{}g}", value, precision) : fmt::format("{:.{}g}", value, precision);
}

void group_thousands(std::string& digits) {
  size_t end = std::min(digits.find_first_not_of("0123456789"), digits.size());
  for (size_t i = end; i > 3; i -= 3) digits.insert(i - 3, 1, ',');
}

std::string pad_to(const std::string& sign, const std::string& body, const Spec& spec, char standard) {
  int64_t missing = spec.width - static_cast<int64_t>(count_code_points(sign) + count_code_points(body));
  if (missing <= 0) return sign + body;
  char align = spec.align != 0 ? spec.align : spec.zero ? '=' : standard;
  std::string fill = spec.zero && spec.align == 0 ? "0" : spec.fill;
  auto repeat = [&](int64_t count) {
    std::string out;
    for (int64_t i = 0; i < count; ++i) out += fill;
    return out;
  };
  switch (align) {
    case '<':
      return sign + body + repeat(missing);
    case '^':
      return repeat(missing / 2) + sign + body + repeat(missing - missing / 2);
    case '=':
      return sign + repeat(missing) + body;
    default:
      return repeat(missing) + sign + body;
  }
}

Result<std::string> format_number(const Value& value, const Spec& spec, char type) {
  bool whole = type == 'd' || type == 'x' || type == 'X' || type == 'o' || type == 'b';
  std::string body, prefix;
  bool negative = false;
  if (whole) {
    BigInt number = to_big(value);
    negative = number.negative();
    if (negative) number = -number;
    if (number.bits() > 14284) return error("Exceeds the limit (4300 digits) for integer string conversion");
    body = in_base(std::move(number), type == 'd' ? 10 : type == 'o' ? 8 : type == 'b' ? 2 : 16, type == 'X');
    if (spec.alternate && type != 'd') prefix = std::string("0") + type;
  } else {
    double number = to_double(value);
    negative = std::signbit(number);
    body = TRY(float_digits(number, spec, type));
    if (type == 'E' || type == 'G' || type == 'F') body = to_upper(body);
  }
  if (spec.thousands) group_thousands(body);
  std::string sign = negative ? "-" : spec.sign != 0 ? std::string(1, spec.sign) : "";
  return pad_to(sign + prefix, body, spec, '>');
}

std::string cut(std::string text, const Spec& spec) {
  if (spec.precision) text.resize(byte_offset(text, static_cast<size_t>(*spec.precision)));
  return text;
}

Result<int64_t> read_number(std::string_view text, size_t& at) {
  int64_t value = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    value = value * 10 + (text[at++] - '0');
    if (value > kMaxWidth) return error("format: the number {} is too large", value);
  }
  return value;
}

// One `%` conversion after another over the arguments.
class Percent {
 public:
  Percent(Runtime& run, std::string_view format, const Value& arguments)
      : run_(run), format_(format), arguments_(arguments) {
    if (auto tuple = arguments.sequence(SequenceKind::tuple))
      values_ = tuple->items;
    else
      values_ = {arguments};
  }

  Result<std::string> format(bool safe) {
    std::string out;
    while (at_ < format_.size()) {
      size_t percent = std::min(format_.find('%', at_), format_.size());
      out += format_.substr(at_, percent - at_);
      at_ = percent + 1;
      if (percent == format_.size()) break;
      std::string part = TRY(conversion());
      out += safe && !part_is_safe_ ? escape_html(part) : part;
      TRY(run_.charge_text(part.size()));
      if (out.size() > kMaxTextBytes) return error("a string grows beyond 64 MiB");
    }
    bool all_used = next_ >= values_.size() || (arguments_.dict() && next_ == 0);
    if (!all_used && !mapped_) return error("not all arguments converted during string formatting");
    return out;
  }

 private:
  Result<Value> next_value() {
    if (next_ >= values_.size()) return error("not enough arguments for format string");
    return values_[next_++];
  }

  Result<int64_t> star_or_number() {
    if (at_ >= format_.size() || format_[at_] != '*') return read_number(format_, at_);
    ++at_;
    return std::clamp(TRY(to_index(TRY(next_value()))), -kMaxWidth, kMaxWidth);
  }

  Result<std::string> conversion() {
    Spec spec;
    std::optional<Value> named;
    part_is_safe_ = false;
    if (at_ < format_.size() && format_[at_] == '(') {
      size_t close = format_.find(')', at_);
      if (close == std::string_view::npos) return error("incomplete format key");
      if (!arguments_.dict()) return error("format requires a mapping");
      const Value* found = arguments_.dict()->find_text(format_.substr(at_ + 1, close - at_ - 1));
      if (!found)
        return error("the mapping of a format string has no key {}",
                     text_repr(format_.substr(at_ + 1, close - at_ - 1)));
      named = *found;
      mapped_ = true;
      at_ = close + 1;
    }
    for (; at_ < format_.size() && std::string_view("-+ 0#").find(format_[at_]) != std::string_view::npos; ++at_) {
      char flag = format_[at_];
      if (flag == '-') spec.align = '<';
      if (flag == '+' || (flag == ' ' && spec.sign == 0)) spec.sign = flag;
      spec.zero |= flag == '0';
      spec.alternate |= flag == '#';
    }
    spec.width = TRY(star_or_number());
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = -spec.width;
    }
    if (at_ < format_.size() && format_[at_] == '.') {
      ++at_;
      spec.precision = std::max<int64_t>(0, TRY(star_or_number()));
    }
    while (at_ < format_.size() && std::string_view("hlL").find(format_[at_]) != std::string_view::npos) ++at_;
    if (at_ >= format_.size()) return error("incomplete format");
    char type = format_[at_++];
    if (type == '%') return std::string("%");
    return convert(type, spec, named ? *named : TRY(next_value()));
  }

  Result<std::string> convert(char type, Spec& spec, const Value& value) {
    switch (type) {
      case 's':
        spec.zero = false;
        part_is_safe_ = value.is_safe();
        return pad_to("", cut(TRY(to_text(value)), spec), spec, '>');
      case 'r':
      case 'a':
        spec.zero = false;
        return pad_to("", cut(TRY(to_repr(value)), spec), spec, '>');
      case 'c': {
        if (value.text() && count_code_points(*value.text()) == 1) return pad_to("", *value.text(), spec, '>');
        auto code = value.get<Integer>();
        if (!code || *code < 0 || *code > 0x10FFFF || (*code >= 0xD800 && *code < 0xE000))
          return error("%c requires int or char");
        std::string character;
        append_utf8(character, static_cast<char32_t>(*code));
        return pad_to("", character, spec, '>');
      }
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o': {
        if (value.is_undefined()) return undefined_error(value);
        bool decimal = type == 'd' || type == 'i' || type == 'u';
        if (decimal && value.get<double>() && std::fabs(*value.get<double>()) < 9e18) {
          return format_number(Value(static_cast<int64_t>(*value.get<double>())), spec, 'd');
        }
        if (!value.is_integer()) return error("%{} format: a real number is required, not {}", type, type_name(value));
        return format_number(value, spec, decimal ? 'd' : type);
      }
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        if (value.is_undefined()) return undefined_error(value);
        if (!value.is_number()) return error("must be real number, not {}", type_name(value));
        return format_number(value, spec, type);
      default:
        return error("unsupported format character '{}'", text_repr(std::string(1, type)));
    }
  }

  Runtime& run_;
  std::string_view format_;
  const Value& arguments_;
  std::vector<Value> values_;
  size_t at_ = 0, next_ = 0;
  bool mapped_ = false, part_is_safe_ = false;
};

Result<Spec> parse_spec(std::string_view text) {
  Spec spec;
  size_t at = 0;
  auto is_align = [&](size_t place) {
    return place < text.size() && std::string_view("<>^=").find(text[place]) != std::string_view::npos;
  };
  size_t second = byte_offset(text, 1);
  if (!text.empty() && is_align(second)) {
    spec.fill = text.substr(0, second);
    spec.align = text[second];
    at = second + 1;
  } else if (is_align(0)) {
    spec.align = text[at++];
  }
  if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) {
    spec.sign = text[at] == '-' ? 0 : text[at];
    ++at;
  }
  if (at < text.size() && text[at] == '#') spec.alternate = ++at > 0;
  if (at < text.size() && text[at] == '0') spec.zero = ++at > 0;
  spec.width = TRY(read_number(text, at));
  if (at < text.size() && text[at] == ',') spec.thousands = ++at > 0;
  if (at < text.size() && text[at] == '.') spec.precision = TRY(read_number(text, ++at));
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size()) return error("Invalid format specifier {}", text_repr(text));
  return spec;
}

Result<std::string> format_value(const Value& value, std::string_view spec_text) {
  if (spec_text.empty()) return to_text(value);
  Spec spec = TRY(parse_spec(spec_text));
  if (value.is_undefined()) return error("unsupported format string passed to Undefined.__format__");
  Error unknown = error("Unknown format code '{}' for object of type '{}'", spec.type, type_name(value));
  if (value.text()) {
    if (spec.type != 0 && spec.type != 's') return unknown;
    if (spec.zero && spec.align == 0) {
      spec.fill = "0";
      spec.zero = false;
    }
    return pad_to("", cut(*value.text(), spec), spec, '<');
  }
  if (!value.is_number()) return error("unsupported format string passed to {}.__format__", type_name(value));
  static constexpr std::string_view kFloatTypes = "eEfFgG%", kIntegerTypes = "dxXob";
  if (spec.type != 0 && kFloatTypes.find(spec.type) != std::string_view::npos)
    return format_number(value, spec, spec.type);
  if (value.is_integer() && (spec.type == 0 || spec.type == 'n')) return format_number(value, spec, 'd');
  if (value.is_integer() && kIntegerTypes.find(spec.type) != std::string_view::npos)
    return format_number(value, spec, spec.type);
  if (spec.type != 0) return unknown;
  if (spec.precision) return format_number(value, spec, 'g');
  std::string text = float_repr(*value.get<double>());
  bool negative = text.starts_with("-");
  return pad_to(negative    ? "-"
                : spec.sign ? std::string(1, spec.sign)
                            : "",
                negative ? text.substr(1) : text, spec, '>');
}

// {field!conversion:spec} over the arguments of str.format; fields reach attributes only as the sandbox lets them.
class Braces {
 public:
  Braces(Runtime& run, const Arguments& arguments) : run_(run), arguments_(arguments) {}

  Result<std::string> format(std::string_view text, int depth) {
    std::string out;
    for (size_t at = 0; at < text.size();) {
      char c = text[at];
      if (c != '{' && c != '}') {
        out += c;
        ++at;
        continue;
      }
      if (at + 1 < text.size() && text[at + 1] == c) {
        out += c;
        at += 2;
        continue;
      }
      if (c == '}') return error("Single '}}' encountered in format string");
      size_t end = ++at;
      for (int open = 1; open > 0; ++end) {
        if (end >= text.size()) return error("expected '}}' before end of string");
        open += text[end] == '{' ? 1 : text[end] == '}' ? -1 : 0;
      }
      if (depth >= 2) return error("Max string recursion exceeded");
      out += TRY(field(text.substr(at, end - 1 - at), depth));
      TRY(run_.charge_text(out.size()));
      at = end;
    }
    return out;
  }

 private:
  Result<std::string> field(std::string_view text, int depth) {
    size_t name_end = std::min(text.find_first_of("!:"), text.size());
    Value value = TRY(look_up(text.substr(0, name_end)));
    text.remove_prefix(name_end);
    if (text.starts_with("!")) {
      if (text.size() < 2 || (text.size() > 2 && text[2] != ':'))
        return error("expected ':' after conversion specifier");
      if (text[1] != 's' && text[1] != 'r') return error("Unknown conversion specifier '{}'", text[1]);
      value = Value(text[1] == 's' ? TRY(to_text(value)) : TRY(to_repr(value)));
      text.remove_prefix(2);
    }
    if (text.starts_with(":")) text.remove_prefix(1);
    return format_value(value, TRY(format(text, depth + 1)));
  }

  Result<Value> look_up(std::string_view path) {
    size_t end = std::min(path.find_first_of(".["), path.size());
    std::string_view head = path.substr(0, end);
    Value value;
    if (head.find_first_not_of("0123456789") == std::string_view::npos) {
      bool automatic = head.empty();
      if ((automatic && manual_) || (!automatic && next_ > 0))
        return error("cannot switch between manual and automatic field numbering");
      manual_ |= !automatic;
      size_t at = 0;
      size_t index = automatic ? next_++ : static_cast<size_t>(TRY(read_number(head, at)));
      if (index >= arguments_.positional.size())
        return error("Replacement index {} out of range for positional args tuple", index);
      value = arguments_.positional[index];
    } else {
      auto found = std::find_if(arguments_.named.begin(), arguments_.named.end(),
                                [&](const auto& a) { return a.first == head; });
      if (found == arguments_.named.end()) return error("format: no argument named {}", text_repr(head));
      value = found->second;
    }
    for (path.remove_prefix(end); !path.empty();) {
      bool item = path[0] == '[';
      size_t stop = item ? path.find(']') : std::min(path.find_first_of(".[", 1), path.size());
      if (stop == std::string_view::npos) return error("Missing ']' in format string");
      std::string name(path.substr(1, stop - 1));
      if (name.empty()) return error("Empty attribute in format string");
      bool number = item && name.size() < 10 && name.find_first_not_of("0123456789") == std::string::npos;
      value = !item ? TRY(get_attribute(run_, value, name)) : TRY(get_item(run_, value, number ? Value(int64_t{std::stoi(name)}) : Value(name)));
      path.remove_prefix(item ? stop + 1 : stop);
    }
    return value;
  }

  Runtime& run_;
  const Arguments& arguments_;
  size_t next_ = 0;
  bool manual_ = false;
};

}  // namespace

Result<Value> format_percent(Runtime& run, const Value& format, const Value& arguments) {
  Percent percent(run, *format.text(), arguments);
  return Value(TRY(percent.format(format.is_safe())), format.is_safe());
}

Result<std::string> format_braces(Runtime& run, std::string_view format, const Arguments& arguments) {
  return Braces(run, arguments).format(format, 0);
}

}  // namespace candor::text::jinja
