// Whole numbers beyond 64 bits, as Python has them: sign and magnitude, limbs of 32 bits, the lowest first.
// Only the few operations a chat template can ask for; the size is limited so that no template can fill the memory.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace candor::text::jinja {

class BigInt {
 public:
  static constexpr size_t kMaxLimbs = 8192;  // 262,144 bits; results beyond it are refused by the operators

  BigInt() = default;
  explicit BigInt(int64_t value);
  // `digits` in base 2, 8, 10 or 16, without sign or prefix; nothing where a character is no digit.
  static std::optional<BigInt> parse(std::string_view digits, int base);

  bool negative() const { return negative_; }
  bool is_zero() const { return limbs_.empty(); }
  size_t limbs() const { return limbs_.size(); }
  size_t bits() const;
  std::optional<int64_t> to_int64() const;
  double to_double() const;
  std::string to_string() const;  // decimal

  BigInt operator-() const;
  friend BigInt operator+(const BigInt& a, const BigInt& b);
  friend BigInt operator-(const BigInt& a, const BigInt& b) { return a + -b; }
  friend BigInt operator*(const BigInt& a, const BigInt& b);
  // Rounds toward minus infinity, as Python's // and % do; `b` is not zero.
  static void floor_divide(const BigInt& a, const BigInt& b, BigInt& quotient, BigInt& remainder);
  friend bool operator==(const BigInt& a, const BigInt& b) = default;
  friend std::strong_ordering operator<=>(const BigInt& a, const BigInt& b);

 private:
  void trim();
  uint32_t divide_small(uint32_t divisor);              // returns the remainder
  void multiply_add(uint32_t factor, uint32_t addend);  // magnitude * factor + addend
  static int compare_magnitude(const BigInt& a, const BigInt& b);
  static BigInt subtract_magnitude(const BigInt& larger, const BigInt& smaller);

  bool negative_ = false;
  std::vector<uint32_t> limbs_;
};

}  // namespace candor::text::jinja
