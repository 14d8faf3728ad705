// Between avx512.cpp and avx512_matmul.cpp only.
#pragma once

#include "engine/kernels/kernels.h"

namespace candor::engine::avx512 {

void matmul(const Matmul& m);

}  // namespace candor::engine::avx512
