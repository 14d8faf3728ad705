// float32 into the blocks of GGUF tensors (gguf_blocks.h has the way back).
//
// Round to nearest as gguf-py does it, operation by operation in float32, so that the bytes are the same: the codes
// come from the scale before that is rounded to a half. A calibrated method chooses scales and codes itself (pack_*).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "files/gguf_blocks.h"

namespace candor::files {

inline constexpr int64_t kGroup = 32;  // values that share a scale in Q8_0, Q4_0 and Q4_1

// The type of this name; nullptr where encode_blocks() does not write it: F32, F16, BF16, Q8_0, Q4_0 and Q4_1.
const GgufBlockType* find_encoder(std::string_view name);

// values: whole blocks of `type`, which find_encoder() knows. raw: blocks·type.bytes. The answer: −1, or the index of a
// value that the type cannot hold: NaN, infinite, too large for a 16-bit float or for a block's 16-bit scale.
int64_t encode_blocks(const GgufBlockType& type, std::span<const float> values, uint8_t* raw);

// One block each. Scales and minima are binary16 bits; codes of Q8_0 lie in [−127, 127], those of the others in [0, 15]
// (in Q4_0, 8 stands for 0).
void pack_q8_0(uint16_t scale, const int8_t* codes, uint8_t* raw);
void pack_q4_0(uint16_t scale, const uint8_t* codes, uint8_t* raw);
void pack_q4_1(uint16_t scale, uint16_t minimum, const uint8_t* codes, uint8_t* raw);

}  // namespace candor::files
