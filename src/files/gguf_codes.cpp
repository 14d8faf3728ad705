// Quantized blocks taken apart, and the way from there to float32.
#include "files/gguf_codes.h"

#include <cstring>

#include "base/half.h"

namespace candor::files {

namespace {

uint16_t load_u16(const uint8_t* raw) {
  uint16_t bits = 0;
  std::memcpy(&bits, raw, 2);
  return bits;
}

uint32_t load_u32(const uint8_t* raw) {
  uint32_t bits = 0;
  std::memcpy(&bits, raw, 4);
  return bits;
}

uint8_t byte_of(int value) {
  return static_cast<uint8_t>(value);
}
int8_t signed_of(int value) {
  return static_cast<int8_t>(value);
}

// Q8_0: scale, 32 signed codes, −128 among them.
void unpack_q8_0(const uint8_t* raw, GgufCodes& to) {
  to.scale = load_u16(raw);
  for (int i = 0; i < 32; ++i) to.codes[i] = raw[2 + i] ^ 0x80;
}

// Byte i holds code i in its low half and code i + 16 in its high half; of 5 bits, bit i of `fifth` is the top of code
// i.
void unpack_nibbles(const uint8_t* raw, uint32_t fifth, GgufCodes& to) {
  for (int i = 0; i < 16; ++i) {
    to.codes[i] = byte_of((raw[i] & 0x0f) | static_cast<int>(fifth >> i & 1u) << 4);
    to.codes[i + 16] = byte_of(raw[i] >> 4 | static_cast<int>(fifth >> (i + 16) & 1u) << 4);
  }
}

void unpack_q4_0(const uint8_t* raw, GgufCodes& to) {
  to.scale = load_u16(raw);
  unpack_nibbles(raw + 2, 0, to);
}

void unpack_q4_1(const uint8_t* raw, GgufCodes& to) {
  to.scale = load_u16(raw), to.minimum = load_u16(raw + 2);
  unpack_nibbles(raw + 4, 0, to);
}

void unpack_q5_0(const uint8_t* raw, GgufCodes& to) {
  to.scale = load_u16(raw);
  unpack_nibbles(raw + 6, load_u32(raw + 2), to);
}

void unpack_q5_1(const uint8_t* raw, GgufCodes& to) {
  to.scale = load_u16(raw), to.minimum = load_u16(raw + 2);
  unpack_nibbles(raw + 8, load_u32(raw + 4), to);
}

// Q4_K and Q5_K: factors of scales and minima, eight of each in 12 bytes, 6 bits a number; in Q5_K 32 bytes with the
// fifth bits, bit j of byte i for code i of group j; 128 bytes: 32 of them hold 32 codes in their low and the next 32
// in their high halves.
void unpack_q45_k(const uint8_t* raw, bool fifth, GgufCodes& to) {
  to.scale = load_u16(raw), to.minimum = load_u16(raw + 2);
  const uint8_t* packed = raw + 4;
  for (int j = 0; j < 8; ++j) {
    const int scale = j < 4 ? packed[j] & 63 : (packed[j + 4] & 0x0f) | packed[j - 4] >> 6 << 4;
    const int minimum = j < 4 ? packed[j + 4] & 63 : packed[j + 4] >> 4 | packed[j] >> 6 << 4;
    to.scales[j] = signed_of(scale), to.minimums[j] = signed_of(-minimum);
  }
  const uint8_t *bits = raw + 16, *codes = fifth ? bits + 32 : bits;
  for (int i = 0; i < 256; ++i) {
    const int group = i / 32, low = codes[group / 2 * 32 + i % 32] >> (group % 2 == 0 ? 0 : 4) & 0x0f;
    to.codes[i] = byte_of(low | (fifth ? (bits[i % 32] >> group & 1) << 4 : 0));
  }
}
void unpack_q4_k(const uint8_t* raw, GgufCodes& to) {
  unpack_q45_k(raw, false, to);
}
void unpack_q5_k(const uint8_t* raw, GgufCodes& to) {
  unpack_q45_k(raw, true, to);
}

// Q6_K: 128 bytes of low halves and 64 of upper pairs of bits, half a block at a time; then 16 signed scales and their
// factor.
void unpack_q6_k(const uint8_t* raw, GgufCodes& to) {
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, in_half = i % 128;
    const int four = raw[64 * half + i % 64] >> (in_half < 64 ? 0 : 4) & 0x0f;
    const int two = raw[128 + 32 * half + i % 32] >> (in_half / 32 * 2) & 3;
    to.codes[i] = byte_of(four | two << 4);
  }
  std::memcpy(to.scales, raw + 192, 16);
  to.scale = load_u16(raw + 208);
}

// Codes of two bits, 32 at a time: bits 2j and 2j + 1 of byte i of each half are code i of stretch j.
int two_bits(const uint8_t* codes, int i) {
  return codes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

// Q2_K: 16 scales (low halves) and minima (high), codes, factors.
void unpack_q2_k(const uint8_t* raw, GgufCodes& to) {
  for (int group = 0; group < 16; ++group)
    to.scales[group] = signed_of(raw[group] & 0x0f), to.minimums[group] = signed_of(-(raw[group] >> 4));
  for (int i = 0; i < 256; ++i) to.codes[i] = byte_of(two_bits(raw + 16, i));
  to.scale = load_u16(raw + 80), to.minimum = load_u16(raw + 82);
}

// Q3_K: 32 bytes of third bits (bit j of byte i: code i of stretch j), codes of two bits, 16 scales of six bits with 32
// for 0 (low halves in 8 bytes, then pairs in 4), their factor.
void unpack_q3_k(const uint8_t* raw, GgufCodes& to) {
  for (int i = 0; i < 256; ++i) to.codes[i] = byte_of(two_bits(raw + 32, i) | (raw[i % 32] >> (i / 32) & 1) << 2);
  const uint8_t* packed = raw + 96;
  for (int group = 0; group < 16; ++group) {
    const int low = packed[group % 8] >> (group < 8 ? 0 : 4) & 0x0f;
    const int high = packed[8 + group % 4] >> (group / 4 * 2) & 3;
    to.scales[group] = signed_of((low | high << 4) - 32);
  }
  to.scale = load_u16(raw + 108);
}

struct Named {
  std::string_view type;
  GgufCodeFormat format;
};

constexpr Named kFormats[] = {
    {"Q8_0", {.bits = 8, .group = 32, .zero = 128, .unpack = unpack_q8_0}},
    {"Q4_0", {.bits = 4, .group = 32, .zero = 8, .unpack = unpack_q4_0}},
    {"Q4_1", {.bits = 4, .group = 32, .minimum = true, .unpack = unpack_q4_1}},
    {"Q5_0", {.bits = 5, .group = 32, .zero = 16, .unpack = unpack_q5_0}},
    {"Q5_1", {.bits = 5, .group = 32, .minimum = true, .unpack = unpack_q5_1}},
    {"Q2_K", {.bits = 2, .group = 16, .minimum = true, .nested = true, .unpack = unpack_q2_k}},
    {"Q3_K", {.bits = 3, .group = 16, .zero = 4, .nested = true, .unpack = unpack_q3_k}},
    {"Q4_K", {.bits = 4, .group = 32, .minimum = true, .nested = true, .unpack = unpack_q4_k}},
    {"Q5_K", {.bits = 5, .group = 32, .minimum = true, .nested = true, .unpack = unpack_q5_k}},
    {"Q6_K", {.bits = 6, .group = 16, .zero = 32, .nested = true, .unpack = unpack_q6_k}},
};

}  // namespace

const GgufCodeFormat* find_code_format(std::string_view type) {
  for (const Named& named : kFormats)
    if (named.type == type) return &named.format;
  return nullptr;
}

void dequantize_codes(const GgufCodeFormat& format, int64_t values, const uint8_t* raw, float* out) {
  GgufCodes block;
  format.unpack(raw, block);
  const float scale = half_to_float(block.scale), minimum = format.minimum ? half_to_float(block.minimum) : 0.0f;
  for (int64_t i = 0; i < values; ++i) {
    const int64_t group = i / format.group;
    const float d = format.nested ? scale * static_cast<float>(block.scales[group]) : scale;
    const auto code = static_cast<float>(block.codes[i] - (format.minimum ? 0 : format.zero));
    if (!format.minimum)
      out[i] = code * d;
    else if (format.nested)  // subtracted, as gguf-py does it: a zero keeps its sign
      out[i] = code * d - minimum * static_cast<float>(-block.minimums[group]);
    else
      out[i] = code * d + minimum;
  }
}

}  // namespace candor::files
