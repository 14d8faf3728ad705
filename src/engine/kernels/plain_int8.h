// The quantized kernels of the plain level, which other levels take where they have none of their own.
#pragma once

#include "engine/kernels/kernels.h"

namespace candor::engine::plain {

void quantize_row(const float* x, int64_t n, uint8_t* row);
void int8_matmul(const Int8Matmul& m);
void dequantize(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count,
                float* out);
void dequantize_bf16(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count,
                     uint16_t* out);

}  // namespace candor::engine::plain
