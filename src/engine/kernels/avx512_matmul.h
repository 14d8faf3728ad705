// Between the files of this level only.
#pragma once

#include "engine/kernels/kernels.h"

namespace candor::engine::avx512 {

void matmul(const Matmul& m);

// Of processors with vdpbf16ps; in a build whose compiler lacks it they are
// left out.
void bf16_matmul(const Bf16Matmul& m);
int64_t bf16_multiply_add(int64_t rounds, float* value);

}  // namespace candor::engine::avx512
