// The quantized kernels (quantized.h) of each level, put into its table: quantize_row, int8_matmul, dequantize,
// dequantize_bf16, int8_multiply_add and int4_multiply_add. Between the files of this folder only.
#pragma once

#include "engine/kernels/kernels.h"

namespace candor::engine {

namespace plain {
void add_int8(Kernels& kernels);  // but for the last two: its roof is that of its float arithmetic
}
namespace avx2 {
void add_int8(Kernels& kernels);
}
namespace avx512 {
void add_int8(Kernels& kernels);  // of processors with VNNI
}

}  // namespace candor::engine
