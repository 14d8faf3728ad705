// The quantized blocks of GGUF files in the engine's own layout (kernels/quantized.h), code by code: dequantized, the
// numbers are the file's, bit for bit. Blocks: ggml-common.h of ggml-org/ggml.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/kernels/quantized.h"
#include "files/gguf_blocks.h"

namespace candor::engine {

// Empty: the type is no quantized block type, or one that the engine does not keep as it is.
std::optional<QuantizedFormat> block_format(const files::GgufBlockType& type);

// Writes one row of `blocks` blocks into a lane of a panel, which begins as zeros. A lane that stays so holds weights
// that are 0. The answer: false where a scale or a minimum is NaN or infinite.
bool place_row(const files::GgufBlockType& type, const uint8_t* raw, int64_t blocks, int64_t lane, uint8_t* panel);

}  // namespace candor::engine
