// The quantized kernels (quantized.h) for AVX2, which avx2.cpp and avx512.cpp put into their tables.
#pragma once

#include "engine/kernels/kernels.h"

namespace candor::engine::avx2 {

void quantize_row(const float* x, int64_t n, uint8_t* row);
void int8_matmul(const Int8Matmul& m);
void dequantize(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count,
                float* out);
void dequantize_bf16(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count,
                     uint16_t* out);
int64_t int8_multiply_add(int64_t rounds, float* value);

}  // namespace candor::engine::avx2
