#include "text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/jinja/format.h"
#include "text/jinja/unicode.h"

namespace candor::text::jinja {

double to_double(const Value& number) {
  if (auto d = number.get<double>()) return *d;
  if (auto i = number.get<Integer>()) return static_cast<double>(*i);
  if (auto b = number.get<bool>()) return *b ? 1 : 0;
  return (*number.get<std::shared_ptr<const BigInt>>())->to_double();
}

BigInt to_big(const Value& integer) {
  if (auto i = integer.get<Integer>()) return BigInt(*i);
  if (auto b = integer.get<bool>()) return BigInt(*b ? 1 : 0);
  return **integer.get<std::shared_ptr<const BigInt>>();
}

Result<bool> equal(Runtime& run, const Value& a, const Value& b) {
  TRY(run.charge(1));
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (a.is_number() && b.is_number()) {
    if (a.get<double>() || b.get<double>()) return to_double(a) == to_double(b);
    return to_big(a) == to_big(b);
  }
  if (auto left = a.text()) {
    auto right = b.text();
    if (right) TRY(run.charge_text(std::min(left->size(), right->size())));
    return right && *left == *right;
  }
  if (auto left = a.sequence()) {
    auto right = b.sequence();
    if (left == right) return true;
    if (!right || left->kind != right->kind || left->kind == SequenceKind::iterator) return false;
    if (left->items.size() != right->items.size()) return false;
    for (size_t i = 0; i < left->items.size(); ++i) {
      if (!TRY(equal(run, left->items[i], right->items[i]))) return false;
    }
    return true;
  }
  if (auto left = a.dict()) {
    auto right = b.dict();
    if (!right || left->entries.size() != right->entries.size()) return false;
    for (const auto& [key, value] : left->entries) {
      const Value* other = right->find(TRY(key_spelling(key)));
      if (!other || !TRY(equal(run, value, *other))) return false;
    }
    return true;
  }
  if (Object* left = a.object()) {
    Object* right = b.object();
    if (!right || left->kind != right->kind) return false;
    if (left->kind == ObjectKind::method || left->kind == ObjectKind::function) {
      return left->name == right->name && TRY(equal(run, left->self, right->self));
    }
    return left == right;
  }
  return a.is_none() && b.is_none();
}

namespace {

template <typename T>
bool ordered(Comparison op, const T& a, const T& b) {
  switch (op) {
    case Comparison::lt:
      return a < b;
    case Comparison::le:
      return a <= b;
    case Comparison::gt:
      return a > b;
    default:
      return a >= b;
  }
}

std::string_view symbol(Comparison op) {
  return op == Comparison::lt ? "<" : op == Comparison::le ? "<=" : op == Comparison::gt ? ">" : ">=";
}

bool is_array(const Value& value) {
  return value.sequence(SequenceKind::list) || value.sequence(SequenceKind::tuple);
}

}  // namespace

Result<bool> compare(Runtime& run, Comparison op, const Value& a, const Value& b) {
  TRY(run.charge(1));
  switch (op) {
    case Comparison::eq:
      return equal(run, a, b);
    case Comparison::ne:
      return !TRY(equal(run, a, b));
    case Comparison::in:
      return contains(run, b, a);
    case Comparison::not_in:
      return !TRY(contains(run, b, a));
    default:
      break;
  }
  if (a.is_undefined()) return undefined_error(a);
  if (b.is_undefined()) return undefined_error(b);
  if (a.is_number() && b.is_number()) {
    if (a.get<double>() || b.get<double>()) return ordered(op, to_double(a), to_double(b));
    return ordered(op, to_big(a), to_big(b));
  }
  if (a.text() && b.text()) {
    TRY(run.charge_text(std::min(a.text()->size(), b.text()->size())));
    return ordered(op, *a.text(), *b.text());  // UTF-8 sorts by code point
  }
  if (is_array(a) && is_array(b) && a.sequence()->kind == b.sequence()->kind) {
    const auto &left = a.sequence()->items, &right = b.sequence()->items;
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      if (!TRY(equal(run, left[i], right[i]))) return compare(run, op, left[i], right[i]);
    }
    return ordered(op, left.size(), right.size());
  }
  return error("'{}' not supported between instances of '{}' and '{}'", symbol(op), type_name(a), type_name(b));
}

Result<bool> contains(Runtime& run, const Value& container, const Value& item) {
  if (auto text = container.text()) {
    if (item.is_undefined()) return undefined_error(item);
    if (!item.text()) return error("'in <string>' requires string as left operand, not {}", type_name(item));
    TRY(run.charge_text(text->size()));
    return text->find(*item.text()) != std::string::npos;
  }
  if (auto dict = container.dict()) return dict->find(TRY(key_spelling(item))) != nullptr;
  if (container.is_undefined()) return false;
  if (!container.sequence()) return error("argument of type '{}' is not iterable", type_name(container));
  for (const Value& candidate : TRY(iterate(run, container))) {
    if (TRY(equal(run, candidate, item))) return true;
  }
  return false;
}

namespace {

Error unsupported(std::string_view op, const Value& a, const Value& b) {
  return error("unsupported operand type(s) for {}: '{}' and '{}'", op, type_name(a), type_name(b));
}

std::string_view symbol(ExprKind op) {
  switch (op) {
    case ExprKind::add:
      return "+";
    case ExprKind::subtract:
      return "-";
    case ExprKind::multiply:
      return "*";
    case ExprKind::divide:
      return "/";
    case ExprKind::floor_divide:
      return "//";
    case ExprKind::modulo:
      return "%";
    default:
      return "** or pow()";
  }
}

Result<Value> big_arithmetic(Runtime& run, ExprKind op, const Value& left, const Value& right) {
  BigInt a = to_big(left), b = to_big(right), result, other;
  TRY(run.charge(1 + a.limbs() * b.limbs() / 16 + (op == ExprKind::multiply ? 0 : a.limbs() * a.limbs())));
  switch (op) {
    case ExprKind::add:
      result = a + b;
      break;
    case ExprKind::subtract:
      result = a - b;
      break;
    case ExprKind::multiply:
      result = a * b;
      break;
    case ExprKind::floor_divide:
      BigInt::floor_divide(a, b, result, other);
      break;
    default:
      BigInt::floor_divide(a, b, other, result);
      break;
  }
  if (result.limbs() > BigInt::kMaxLimbs) return error("an integer grows beyond {} bits", BigInt::kMaxLimbs * 32);
  return Value(std::move(result));
}

Result<Value> integer_power(Runtime& run, const Value& a, const Value& b) {
  auto exponent = to_big(b).to_int64();
  if (exponent && *exponent < 0) {
    if (to_big(a).is_zero()) return error("0.0 cannot be raised to a negative power");
    return Value(std::pow(to_double(a), to_double(b)));
  }
  BigInt base = to_big(a);
  bool small = base.bits() <= 1;
  if (!exponent ||
      (!small && base.bits() * static_cast<uint64_t>(std::min<int64_t>(*exponent, 1 << 30)) > BigInt::kMaxLimbs * 64)) {
    return error("an integer grows beyond {} bits", BigInt::kMaxLimbs * 32);
  }
  int64_t power = small ? (*exponent == 0 ? 0 : 2 - *exponent % 2) : *exponent;  // 0, 1 and -1 repeat
  BigInt result(1);
  while (power > 0) {
    TRY(run.charge(1 + base.limbs() * base.limbs() / 16));
    if (power & 1) result = result * base;
    power >>= 1;
    if (power > 0) base = base * base;
    if (result.limbs() > BigInt::kMaxLimbs) return error("an integer grows beyond {} bits", BigInt::kMaxLimbs * 32);
  }
  return Value(std::move(result));
}

Result<Value> integer_arithmetic(Runtime& run, ExprKind op, const Value& left, const Value& right) {
  if (op == ExprKind::power) return integer_power(run, left, right);
  bool divides = op == ExprKind::divide || op == ExprKind::floor_divide || op == ExprKind::modulo;
  if (divides && to_big(right).is_zero()) {
    return Error{op == ExprKind::divide ? "division by zero" : "integer division or modulo by zero"};
  }
  if (op == ExprKind::divide) return Value(to_double(left) / to_double(right));
  auto a = to_big(left).to_int64(), b = to_big(right).to_int64();
  int64_t result = 0;
  if (a && b) {
    switch (op) {
      case ExprKind::add:
        if (!__builtin_add_overflow(*a, *b, &result)) return Value(result);
        break;
      case ExprKind::subtract:
        if (!__builtin_sub_overflow(*a, *b, &result)) return Value(result);
        break;
      case ExprKind::multiply:
        if (!__builtin_mul_overflow(*a, *b, &result)) return Value(result);
        break;
      default:
        if (*b == -1) break;  // the smallest integer overflows
        int64_t quotient = *a / *b, rest = *a % *b;
        if (rest != 0 && (rest < 0) != (*b < 0)) {
          --quotient;
          rest += *b;
        }
        return Value(op == ExprKind::modulo ? rest : quotient);
    }
  }
  return big_arithmetic(run, op, left, right);
}

Result<Value> float_arithmetic(ExprKind op, double a, double b) {
  switch (op) {
    case ExprKind::add:
      return Value(a + b);
    case ExprKind::subtract:
      return Value(a - b);
    case ExprKind::multiply:
      return Value(a * b);
    case ExprKind::divide:
      if (b == 0) return error("float division by zero");
      return Value(a / b);
    case ExprKind::power:
      if (a == 0 && b < 0) return error("0.0 cannot be raised to a negative power");
      if (a < 0 && b != std::floor(b)) return error("complex numbers are not supported");
      return Value(std::pow(a, b));
    default: {
      if (b == 0) return error("float floor division by zero");
      double rest = std::fmod(a, b);
      double quotient = (a - rest) / b;
      if (rest != 0 && (rest < 0) != (b < 0)) {
        rest += b;
        quotient -= 1;
      }
      if (rest == 0) rest = std::copysign(0.0, b);
      if (op == ExprKind::modulo) return Value(rest);
      double floor = std::floor(quotient);
      return Value(quotient - floor > 0.5 ? floor + 1 : floor);
    }
  }
}

Result<Value> repeat(Runtime& run, const Value& value, const Value& times) {
  int64_t count = std::max<int64_t>(0, TRY(to_index(times)));
  if (auto text = value.text()) {
    if (!text->empty() && static_cast<uint64_t>(count) > kMaxTextBytes / text->size())
      return error("a string grows beyond 64 MiB");
    TRY(run.charge_text(text->size() * static_cast<size_t>(count)));
    std::string result;
    result.reserve(text->size() * static_cast<size_t>(count));
    if (text->size() == 1) result.assign(static_cast<size_t>(count), text->front());
    for (int64_t i = 0; i < count && text->size() > 1; ++i) result += *text;
    return Value(std::move(result), value.is_safe());
  }
  const auto& items = value.sequence()->items;
  if (!items.empty() && static_cast<uint64_t>(count) > kMaxSteps / items.size()) return error("a list grows too long");
  TRY(run.charge(items.size() * static_cast<size_t>(count)));
  std::vector<Value> result;
  for (int64_t i = 0; i < count && !items.empty(); ++i) result.insert(result.end(), items.begin(), items.end());
  return make_sequence(value.sequence()->kind, std::move(result));
}

Result<Value> add_containers(Runtime& run, const Value& a, const Value& b) {
  if (a.text() && b.text()) {
    bool safe = a.is_safe() || b.is_safe();
    std::string result = safe && !a.is_safe() ? escape_html(*a.text()) : *a.text();
    result += safe && !b.is_safe() ? escape_html(*b.text()) : *b.text();
    TRY(run.charge_text(result.size()));
    return Value(std::move(result), safe);
  }
  if (is_array(a) && is_array(b) && a.sequence()->kind == b.sequence()->kind) {
    std::vector<Value> items = a.sequence()->items;
    items.insert(items.end(), b.sequence()->items.begin(), b.sequence()->items.end());
    TRY(run.charge(items.size()));
    return make_sequence(a.sequence()->kind, std::move(items));
  }
  if (a.text() || is_array(a)) {
    std::string name = a.text() ? "str" : type_name(a);
    return error("can only concatenate {} (not \"{}\") to {}", name, type_name(b), name);
  }
  return unsupported("+", a, b);
}

}  // namespace

Result<Value> arithmetic(Runtime& run, ExprKind op, const Value& a, const Value& b) {
  if (op == ExprKind::modulo && a.text()) return format_percent(run, a, b);
  if (a.is_undefined()) return undefined_error(a);
  if (b.is_undefined()) return undefined_error(b);
  if (a.is_number() && b.is_number()) {
    if (a.get<double>() || b.get<double>()) return float_arithmetic(op, to_double(a), to_double(b));
    return integer_arithmetic(run, op, a, b);
  }
  auto repeats = [](const Value& v) { return v.text() || is_array(v); };
  if (op == ExprKind::multiply && repeats(a) && b.is_integer()) return repeat(run, a, b);
  if (op == ExprKind::multiply && repeats(b) && a.is_integer()) return repeat(run, b, a);
  if (op == ExprKind::add) return add_containers(run, a, b);
  return unsupported(symbol(op), a, b);
}

Result<Value> negate(const Value& value) {
  if (value.is_undefined()) return undefined_error(value);
  if (auto d = value.get<double>()) return Value(-*d);
  if (value.is_integer()) return Value(-to_big(value));
  return error("bad operand type for unary -: '{}'", type_name(value));
}

Result<std::vector<Value>> iterate(Runtime& run, const Value& value) {
  std::vector<Value> items;
  if (value.is_undefined()) return items;
  if (auto text = value.text()) {
    TRY(run.charge(text->size()));
    for (std::string& character : characters(*text)) items.emplace_back(std::move(character), value.is_safe());
    return items;
  }
  if (auto dict = value.dict()) {
    TRY(run.charge(dict->entries.size()));
    for (const auto& entry : dict->entries) items.push_back(entry.first);
    return items;
  }
  if (auto sequence = value.sequence()) {
    size_t start =
        sequence->kind == SequenceKind::iterator ? std::exchange(sequence->consumed, sequence->items.size()) : 0;
    TRY(run.charge(sequence->items.size() - start));
    items.assign(sequence->items.begin() + static_cast<ptrdiff_t>(start), sequence->items.end());
    return items;
  }
  return error("'{}' object is not iterable", type_name(value));
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace candor::text::jinja
