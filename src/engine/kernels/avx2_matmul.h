// Between the files of this level only.
#pragma once

#include "engine/kernels/kernels.h"

namespace candor::engine::avx2 {

void matmul(const Matmul& m);

void bf16_matmul(const Bf16Matmul& m);
void bf16_transpose_block(const uint16_t* in, uint16_t* out);
void round_bf16(const float* x, int64_t n, uint16_t* y);
void widen_bf16(const uint16_t* x, int64_t n, float* y);

}  // namespace candor::engine::avx2
