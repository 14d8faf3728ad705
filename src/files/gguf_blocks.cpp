#include "files/gguf_blocks.h"

#include <array>
#include <cstring>

#include "base/half.h"
#include "files/gguf_codes.h"

namespace candor::files {

namespace {

uint16_t load_u16(const uint8_t* raw) {
  uint16_t bits = 0;
  std::memcpy(&bits, raw, 2);
  return bits;
}

void from_f32(const uint8_t* raw, int64_t blocks, float* out) {
  std::memcpy(out, raw, static_cast<size_t>(blocks) * sizeof(float));
}

void from_f16(const uint8_t* raw, int64_t blocks, float* out) {
  for (int64_t i = 0; i < blocks; ++i) out[i] = half_to_float(load_u16(raw + 2 * i));
}

void from_bf16(const uint8_t* raw, int64_t blocks, float* out) {
  for (int64_t i = 0; i < blocks; ++i) out[i] = bfloat16_to_float(load_u16(raw + 2 * i));
}

// A block's codes in a local array, which the compiler knows to lie apart from the output.
template <size_t kBytes>
std::array<uint8_t, kBytes> codes_at(const uint8_t* raw) {
  std::array<uint8_t, kBytes> codes;
  std::memcpy(codes.data(), raw, kBytes);
  return codes;
}

// Q8_0: scale (half), 32 signed codes, −128 among them.
void from_q8_0(const uint8_t* raw, int64_t blocks, float* out) {
  for (int64_t block = 0; block < blocks; ++block, raw += 34, out += 32) {
    const float scale = half_to_float(load_u16(raw));
    const auto codes = codes_at<32>(raw + 2);
    for (size_t i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(codes[i])) * scale;
  }
}

// Q4_0: scale (half), 16 bytes; byte i holds code i in its low half and code i + 16 in its high half; 8 means 0.
void from_q4_0(const uint8_t* raw, int64_t blocks, float* out) {
  for (int64_t block = 0; block < blocks; ++block, raw += 18, out += 32) {
    const float scale = half_to_float(load_u16(raw));
    const auto codes = codes_at<16>(raw + 2);
    for (size_t i = 0; i < 16; ++i) out[i] = static_cast<float>((codes[i] & 0x0f) - 8) * scale;
    for (size_t i = 0; i < 16; ++i) out[i + 16] = static_cast<float>((codes[i] >> 4) - 8) * scale;
  }
}

// Q4_1: scale and minimum (halves), 16 bytes as in Q4_0; value = code·scale + minimum.
void from_q4_1(const uint8_t* raw, int64_t blocks, float* out) {
  for (int64_t block = 0; block < blocks; ++block, raw += 20, out += 32) {
    const float scale = half_to_float(load_u16(raw)), minimum = half_to_float(load_u16(raw + 2));
    const auto codes = codes_at<16>(raw + 4);
    for (size_t i = 0; i < 16; ++i) out[i] = static_cast<float>(codes[i] & 0x0f) * scale + minimum;
    for (size_t i = 0; i < 16; ++i) out[i + 16] = static_cast<float>(codes[i] >> 4) * scale + minimum;
  }
}

// The other types that gguf_codes.h takes apart: blocks of so many values and bytes.
template <uint32_t kNumber>
void from_codes(const uint8_t* raw, int64_t blocks, float* out) {
  const GgufBlockType& type = *find_block_type(kNumber);
  const GgufCodeFormat& format = *find_code_format(type.name);
  for (int64_t block = 0; block < blocks; ++block, raw += type.bytes, out += type.values)
    dequantize_codes(format, type.values, raw, out);
}

constexpr GgufBlockType kBlockTypes[] = {
    {0, "F32", 1, 4, from_f32},
    {1, "F16", 1, 2, from_f16},
    {2, "Q4_0", 32, 18, from_q4_0},
    {3, "Q4_1", 32, 20, from_q4_1},
    {6, "Q5_0", 32, 22, from_codes<6>},
    {7, "Q5_1", 32, 24, from_codes<7>},
    {8, "Q8_0", 32, 34, from_q8_0},
    {9, "Q8_1", 32, 36, nullptr},
    {10, "Q2_K", 256, 84, from_codes<10>},
    {11, "Q3_K", 256, 110, from_codes<11>},
    {12, "Q4_K", 256, 144, from_codes<12>},
    {13, "Q5_K", 256, 176, from_codes<13>},
    {14, "Q6_K", 256, 210, from_codes<14>},
    {15, "Q8_K", 256, 292, nullptr},
    {16, "IQ2_XXS", 256, 66, nullptr},
    {17, "IQ2_XS", 256, 74, nullptr},
    {18, "IQ3_XXS", 256, 98, nullptr},
    {19, "IQ1_S", 256, 50, nullptr},
    {20, "IQ4_NL", 32, 18, nullptr},
    {21, "IQ3_S", 256, 110, nullptr},
    {22, "IQ2_S", 256, 82, nullptr},
    {23, "IQ4_XS", 256, 136, nullptr},
    {24, "I8", 1, 1, nullptr},
    {25, "I16", 1, 2, nullptr},
    {26, "I32", 1, 4, nullptr},
    {27, "I64", 1, 8, nullptr},
    {28, "F64", 1, 8, nullptr},
    {29, "IQ1_M", 256, 56, nullptr},
    {30, "BF16", 1, 2, from_bf16},
    {34, "TQ1_0", 256, 54, nullptr},
    {35, "TQ2_0", 256, 66, nullptr},
    {39, "MXFP4", 32, 17, nullptr},
};

}  // namespace

const GgufBlockType* find_block_type(uint32_t number) {
  for (const GgufBlockType& type : kBlockTypes) {
    if (type.number == number) return &type;
  }
  return nullptr;
}

}  // namespace candor::files
