#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace candor {
namespace {

uint32_t bits_of(float x) {
  return std::bit_cast<uint32_t>(x);
}

TEST(Bfloat16, EveryValueComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float x = bfloat16_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(x))
      EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(x)))) << bits;
    else
      EXPECT_EQ(float_to_bfloat16(x), bits);
  }
}

// Around every finite value: what lies nearer goes there, the middle goes to the even one.
TEST(Bfloat16, RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7f80; ++bits) {
    for (const uint32_t sign : {0u, 0x8000u}) {
      const uint32_t below = bits | sign, above = below + 1;
      auto between = [&](uint32_t part) { return float_to_bfloat16(std::bit_cast<float>(below << 16 | part)); };
      ASSERT_EQ(between(1), below);
      ASSERT_EQ(between(0x7fff), below);
      ASSERT_EQ(between(0x8000), below % 2 == 0 ? below : above);
      ASSERT_EQ(between(0x8001), above);
      ASSERT_EQ(between(0xffff), above);
    }
  }
}

TEST(Bfloat16, EndsOfTheRange) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(float_to_bfloat16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(float_to_bfloat16(-infinity), 0xff80);
  EXPECT_EQ(bits_of(bfloat16_to_float(float_to_bfloat16(-0.0f))), 0x80000000u);
  // A signalling NaN whose set bits are all in the lower half must not become infinite.
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x7f800001u)), 0x7fc0);
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0xffffffffu)), 0xffff);
}

TEST(Half, EveryValueComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float x = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(x))
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(x)))) << bits;
    else
      EXPECT_EQ(float_to_half(x), bits);
  }
}

// Around every finite value: what lies nearer goes there, the middle goes to the even one, and to infinity at the end.
TEST(Half, RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const float below = half_to_float(static_cast<uint16_t>(bits));
    const float above = bits == 0x7bff ? 65536.0f : half_to_float(static_cast<uint16_t>(bits + 1));
    const float middle = below + (above - below) / 2;  // exact: one bit more than a half has
    ASSERT_EQ(float_to_half(middle), bits % 2 == 0 ? bits : bits + 1);
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), bits);
    ASSERT_EQ(float_to_half(std::nextafter(middle, 1e9f)), bits + 1);
    ASSERT_EQ(float_to_half(-middle), (bits % 2 == 0 ? bits : bits + 1) | 0x8000u);
  }
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(float_to_half(-std::numeric_limits<float>::infinity()), 0xfc00);
}

}  // namespace
}  // namespace candor
