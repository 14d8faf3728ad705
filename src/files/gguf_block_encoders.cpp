#include "files/gguf_block_encoders.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/half.h"
#include "files/weight_names.h"

namespace candor::files {

namespace {

constexpr uint16_t kMagnitude = 0x7fff;

void store_u16(uint16_t bits, uint8_t* raw) {
  std::memcpy(raw, &bits, 2);
}

bool overflows(uint16_t half) {
  return (half & kMagnitude) >= 0x7c00;
}

// 1/scale; 0 for a block of zeros, and where the scale is so small that a half does not hold it anyway.
float inverse(float scale) {
  const float result = 1.0f / scale;
  return scale == 0 || !std::isfinite(result) ? 0.0f : result;
}

// To nearest, ties away from zero.
float round_away(float x) {
  const float magnitude = std::abs(x), floored = std::floor(magnitude);
  return std::copysign(floored + std::floor(2 * (magnitude - floored)), x);
}

// Index of the largest magnitude, the first among equals.
int64_t largest(const float* x) {
  return std::max_element(x, x + kGroup, [](float a, float b) { return std::abs(a) < std::abs(b); }) - x;
}

// Each encodes one block and answers as encode_blocks().
int64_t to_f32(const float* x, uint8_t* raw) {
  std::memcpy(raw, x, 4);
  return -1;
}

int64_t to_f16(const float* x, uint8_t* raw) {
  const uint16_t half = float_to_half(*x);
  store_u16(half, raw);
  return overflows(half) ? 0 : -1;
}

int64_t to_bf16(const float* x, uint8_t* raw) {
  const uint16_t bits = float_to_bfloat16(*x);
  store_u16(bits, raw);
  return (bits & kMagnitude) >= 0x7f80 ? 0 : -1;
}

int64_t to_q8_0(const float* x, uint8_t* raw) {
  const int64_t top = largest(x);
  const float scale = std::abs(x[top]) / 127, factor = inverse(scale);
  const uint16_t half = float_to_half(scale);
  if (overflows(half)) return top;
  int8_t codes[kGroup];
  for (int64_t i = 0; i < kGroup; ++i) codes[i] = static_cast<int8_t>(round_away(x[i] * factor));
  pack_q8_0(half, codes, raw);
  return -1;
}

int64_t to_q4_0(const float* x, uint8_t* raw) {
  const int64_t top = largest(x);
  const float scale = x[top] / -8, factor = inverse(scale);
  const uint16_t half = float_to_half(scale);
  if (overflows(half)) return top;
  uint8_t codes[kGroup];
  for (int64_t i = 0; i < kGroup; ++i)
    codes[i] = static_cast<uint8_t>(std::clamp(std::trunc(x[i] * factor + 8.5f), 0.0f, 15.0f));
  pack_q4_0(half, codes, raw);
  return -1;
}

int64_t to_q4_1(const float* x, uint8_t* raw) {
  const auto [low, high] = std::minmax_element(x, x + kGroup);
  const float minimum = *low, scale = (*high - minimum) / 15, factor = inverse(scale);
  const uint16_t half = float_to_half(scale), half_minimum = float_to_half(minimum);
  if (overflows(half) || overflows(half_minimum)) return largest(x);
  uint8_t codes[kGroup];
  for (int64_t i = 0; i < kGroup; ++i)
    codes[i] = static_cast<uint8_t>(std::clamp(std::trunc((x[i] - minimum) * factor + 0.5f), 0.0f, 15.0f));
  pack_q4_1(half, half_minimum, codes, raw);
  return -1;
}

struct Encoder {
  std::string_view name;
  uint32_t number;  // ggml's
  int64_t (*block)(const float* x, uint8_t* raw);
};
constexpr Encoder kEncoders[] = {{"F32", 0, to_f32},   {"F16", 1, to_f16},   {"BF16", 30, to_bf16},
                                 {"Q8_0", 8, to_q8_0}, {"Q4_0", 2, to_q4_0}, {"Q4_1", 3, to_q4_1}};

// Byte i holds code i in its low half and code i + 16 in its high half.
void pack_nibbles(const uint8_t* codes, uint8_t* raw) {
  for (int64_t i = 0; i < kGroup / 2; ++i) raw[i] = static_cast<uint8_t>(codes[i] | codes[i + kGroup / 2] << 4);
}

}  // namespace

void pack_q8_0(uint16_t scale, const int8_t* codes, uint8_t* raw) {
  store_u16(scale, raw);
  std::memcpy(raw + 2, codes, kGroup);
}

void pack_q4_0(uint16_t scale, const uint8_t* codes, uint8_t* raw) {
  store_u16(scale, raw);
  pack_nibbles(codes, raw + 2);
}

void pack_q4_1(uint16_t scale, uint16_t minimum, const uint8_t* codes, uint8_t* raw) {
  store_u16(scale, raw);
  store_u16(minimum, raw + 2);
  pack_nibbles(codes, raw + 4);
}

const GgufBlockType* find_encoder(std::string_view name) {
  for (const Encoder& encoder : kEncoders) {
    if (encoder.name == name) return find_block_type(encoder.number);
  }
  return nullptr;
}

int64_t encode_blocks(const GgufBlockType& type, std::span<const float> values, uint8_t* raw) {
  const auto count = static_cast<int64_t>(values.size());
  const auto* encoder = std::find_if(std::begin(kEncoders), std::end(kEncoders),
                                     [&](const Encoder& each) { return each.number == type.number; });
  CHECK(encoder != std::end(kEncoders) && count % type.values == 0);
  if (const int64_t bad = first_non_finite(values.data(), count); bad >= 0) return bad;
  for (int64_t at = 0; at < count; at += type.values, raw += type.bytes) {
    const int64_t bad = encoder->block(values.data() + at, raw);
    if (bad >= 0) return at + bad;
  }
  return -1;
}

}  // namespace candor::files
