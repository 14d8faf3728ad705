// The block types of GGUF tensors: their sizes, and the way back to float32.
//
// Only types in this project's reach are dequantized; the sizes of all of ggml's types are known, so that a container
// can be checked whole. Layouts: ggml-common.h of ggml-org/ggml.
#pragma once

#include <cstdint>
#include <string_view>

namespace candor::files {

struct GgufBlockType {
  uint32_t number = 0;    // ggml's, as in the file
  std::string_view name;  // "F32", "Q4_1", …
  int64_t values = 0;     // per block, along the innermost dimension
  int64_t bytes = 0;      // per block
  // `blocks` blocks from `raw` to blocks·values floats at `out`; nullptr = not supported yet. One or two float32
  // operations a value, never contracted: the bits are those of ggml's own.
  void (*dequantize)(const uint8_t* raw, int64_t blocks, float* out) = nullptr;
};

// nullptr: ggml has no such type, or has removed it.
const GgufBlockType* find_block_type(uint32_t number);

}  // namespace candor::files
