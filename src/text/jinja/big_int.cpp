#include "text/jinja/big_int.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace candor::text::jinja {

BigInt::BigInt(int64_t value) : negative_(value < 0) {
  uint64_t magnitude = negative_ ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  for (; magnitude != 0; magnitude >>= 32) limbs_.push_back(static_cast<uint32_t>(magnitude));
}

std::optional<BigInt> BigInt::parse(std::string_view digits, int base) {
  if (digits.empty()) return std::nullopt;
  BigInt result;
  for (char c : digits) {
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'z' ? c - 'a' + 10
                : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                       : 99;
    if (digit >= base || result.limbs() > kMaxLimbs) return std::nullopt;
    result.multiply_add(static_cast<uint32_t>(base), static_cast<uint32_t>(digit));
  }
  return result;
}

size_t BigInt::bits() const {
  return limbs_.empty() ? 0 : limbs_.size() * 32 - std::countl_zero(limbs_.back());
}

std::optional<int64_t> BigInt::to_int64() const {
  if (limbs_.size() > 2) return std::nullopt;
  uint64_t magnitude = 0;
  for (size_t i = limbs_.size(); i-- > 0;) magnitude = magnitude << 32 | limbs_[i];
  uint64_t limit = (uint64_t{1} << 63) - (negative_ ? 0 : 1);
  if (magnitude > limit) return std::nullopt;
  return static_cast<int64_t>(negative_ ? 0 - magnitude : magnitude);
}

double BigInt::to_double() const {
  // Exact to the last bit by way of the decimal digits would be slow; the top 64 bits with a sticky bit round the same.
  size_t n = bits();
  uint64_t top = 0;
  bool sticky = false;
  for (size_t bit = n; bit-- > 0;) {
    bool set = limbs_[bit / 32] >> (bit % 32) & 1;
    if (n - bit <= 62) {
      top = top << 1 | set;
    } else {
      sticky |= set;
    }
  }
  double value = std::ldexp(static_cast<double>(top << 1 | sticky), static_cast<int>(n > 62 ? n - 62 : 0) - 1);
  return negative_ ? -value : value;
}

std::string BigInt::to_string() const {
  if (is_zero()) return "0";
  BigInt rest = *this;
  std::string text;
  while (!rest.is_zero()) {
    uint32_t part = rest.divide_small(1000000000);
    for (int i = 0; i < 9 && (part != 0 || !rest.is_zero()); ++i, part /= 10)
      text += static_cast<char>('0' + part % 10);
  }
  if (negative_) text += '-';
  std::reverse(text.begin(), text.end());
  return text;
}

BigInt BigInt::operator-() const {
  BigInt result = *this;
  if (!is_zero()) result.negative_ = !negative_;
  return result;
}

BigInt operator+(const BigInt& a, const BigInt& b) {
  if (a.negative_ != b.negative_) {
    int order = BigInt::compare_magnitude(a, b);
    BigInt result = order >= 0 ? BigInt::subtract_magnitude(a, b) : BigInt::subtract_magnitude(b, a);
    result.negative_ = !result.is_zero() && (order >= 0 ? a.negative_ : b.negative_);
    return result;
  }
  BigInt result;
  result.negative_ = a.negative_;
  uint64_t carry = 0;
  for (size_t i = 0; i < std::max(a.limbs_.size(), b.limbs_.size()) || carry != 0; ++i) {
    carry += (i < a.limbs_.size() ? a.limbs_[i] : 0);
    carry += (i < b.limbs_.size() ? b.limbs_[i] : 0);
    result.limbs_.push_back(static_cast<uint32_t>(carry));
    carry >>= 32;
  }
  return result;
}

BigInt operator*(const BigInt& a, const BigInt& b) {
  BigInt result;
  result.limbs_.assign(a.limbs_.size() + b.limbs_.size(), 0);
  for (size_t i = 0; i < a.limbs_.size(); ++i) {
    uint64_t carry = 0;
    for (size_t j = 0; j < b.limbs_.size(); ++j) {
      carry += uint64_t{a.limbs_[i]} * b.limbs_[j] + result.limbs_[i + j];
      result.limbs_[i + j] = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    result.limbs_[i + b.limbs_.size()] = static_cast<uint32_t>(carry);
  }
  result.negative_ = a.negative_ != b.negative_;
  result.trim();
  return result;
}

void BigInt::floor_divide(const BigInt& a, const BigInt& b, BigInt& quotient, BigInt& remainder) {
  BigInt magnitude = b;
  magnitude.negative_ = false;
  BigInt q, r;
  q.limbs_.assign(a.limbs_.size(), 0);
  for (size_t bit = a.bits(); bit-- > 0;) {  // long division, bit by bit
    r.multiply_add(2, a.limbs_[bit / 32] >> (bit % 32) & 1);
    if (compare_magnitude(r, magnitude) >= 0) {
      r = subtract_magnitude(r, magnitude);
      q.limbs_[bit / 32] |= 1u << (bit % 32);
    }
  }
  q.trim();
  if (a.negative_ != b.negative_) {
    q = -q;
    if (!r.is_zero()) {
      q = q - BigInt(1);
      r = subtract_magnitude(magnitude, r);
    }
  }
  r.negative_ = !r.is_zero() && b.negative_;
  quotient = std::move(q);
  remainder = std::move(r);
}

std::strong_ordering operator<=>(const BigInt& a, const BigInt& b) {
  if (a.negative_ != b.negative_) return a.negative_ ? std::strong_ordering::less : std::strong_ordering::greater;
  int order = BigInt::compare_magnitude(a, b);
  return (a.negative_ ? -order : order) <=> 0;
}

void BigInt::trim() {
  while (!limbs_.empty() && limbs_.back() == 0) limbs_.pop_back();
  if (limbs_.empty()) negative_ = false;
}

uint32_t BigInt::divide_small(uint32_t divisor) {
  uint64_t rest = 0;
  for (size_t i = limbs_.size(); i-- > 0;) {
    rest = rest << 32 | limbs_[i];
    limbs_[i] = static_cast<uint32_t>(rest / divisor);
    rest %= divisor;
  }
  trim();
  return static_cast<uint32_t>(rest);
}

void BigInt::multiply_add(uint32_t factor, uint32_t addend) {
  uint64_t carry = addend;
  for (uint32_t& limb : limbs_) {
    carry += uint64_t{limb} * factor;
    limb = static_cast<uint32_t>(carry);
    carry >>= 32;
  }
  if (carry != 0) limbs_.push_back(static_cast<uint32_t>(carry));
}

int BigInt::compare_magnitude(const BigInt& a, const BigInt& b) {
  if (a.limbs_.size() != b.limbs_.size()) return a.limbs_.size() < b.limbs_.size() ? -1 : 1;
  for (size_t i = a.limbs_.size(); i-- > 0;) {
    if (a.limbs_[i] != b.limbs_[i]) return a.limbs_[i] < b.limbs_[i] ? -1 : 1;
  }
  return 0;
}

BigInt BigInt::subtract_magnitude(const BigInt& larger, const BigInt& smaller) {
  BigInt result;
  int64_t borrow = 0;
  for (size_t i = 0; i < larger.limbs_.size(); ++i) {
    int64_t limb = int64_t{larger.limbs_[i]} - (i < smaller.limbs_.size() ? smaller.limbs_[i] : 0) - borrow;
    borrow = limb < 0;
    result.limbs_.push_back(static_cast<uint32_t>(limb + (borrow << 32)));
  }
  result.trim();
  return result;
}

}  // namespace candor::text::jinja
