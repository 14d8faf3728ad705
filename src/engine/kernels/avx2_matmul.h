// Between avx2.cpp and avx2_matmul.cpp only.
#pragma once

#include "engine/kernels/kernels.h"

namespace candor::engine::avx2 {

void matmul(const Matmul& m);

}  // namespace candor::engine::avx2
