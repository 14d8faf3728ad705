// The quantized blocks of GGUF taken apart: codes, scales and minima as integers and halves, from which a value is
// (code − zero)·scale or code·scale + minimum. Layouts: ggml-common.h of ggml-org/ggml.
#pragma once

#include <cstdint>
#include <string_view>

namespace candor::files {

// One block.
struct GgufCodes {
  uint8_t codes[256] = {};          // in the order of the inputs, from 0 up
  uint16_t scale = 0, minimum = 0;  // halves: of the block's only group, or what its groups' are multiplied by
  int8_t scales[16] = {}, minimums[16] = {};  // of each group, where the format is nested
};

struct GgufCodeFormat {
  int bits = 0;   // of a code
  int group = 0;  // inputs that share a scale
  int zero = 0;   // the code of 0, where there is no minimum
  bool minimum = false;
  bool nested = false;  // a block of 256 inputs in groups; otherwise of 32, one group
  void (*unpack)(const uint8_t* raw, GgufCodes& to) = nullptr;
};

// Of Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 and Q2_K to Q6_K; nullptr for other types.
const GgufCodeFormat* find_code_format(std::string_view type);

// One block of `values` values. One or two float32 operations a value (and one for a nested scale), never contracted:
// the bits are those of gguf-py.
void dequantize_codes(const GgufCodeFormat& format, int64_t values, const uint8_t* raw, float* out);

}  // namespace candor::files
