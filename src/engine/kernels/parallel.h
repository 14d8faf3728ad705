// Matrix products over the pool's threads. Threads split outputs (rows and panels of C), never sums, so nothing here
// can change a bit (kernels.h).
#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "engine/kernels/kernels.h"

namespace candor::engine {

// Independent products in one round of the pool: none may read or write what another writes. Give all that are ready
// at once (q, k and v; gate and up): it saves rounds and balances better.
void run_matmuls(ThreadPool& pool, const Kernels& kernels, std::span<const Matmul> products,
                 std::span<const Bf16Matmul> bf16_products = {});

// dX [rows, in] = (accumulate ? dX : 0) + dY [rows, padded(out)]·W, with the packed weight of the forward pass as it
// is: each task transposes the blocks it needs. Columns of dY in [out, padded(out)) meet the weight's padding; both
// hold zeros. Of each row of dX all padded(in) columns are written, the padding with zeros added.
//
// Number is float, with the weight [padded(out)/16][in][16], or uint16_t: dY rounded to bfloat16 and the weight
// [padded(out)/16][in/2][16][2], in a multiple of 16.
template <typename Number>
struct TransposedProduct {
  const Number* dy = nullptr;
  int64_t dy_row = 0;
  const Number* weight = nullptr;
  int64_t rows = 0, out = 0, in = 0;
  float* dx = nullptr;
  int64_t dx_row = 0;
  bool accumulate = false;
};
using TransposedMatmul = TransposedProduct<float>;
using Bf16TransposedMatmul = TransposedProduct<uint16_t>;

// All with the same rows, in, dx and dx_row, in one round: they add to dX in the order given (dx of q, k and v; of gate
// and up). Only the first one's `accumulate` is read; the others add.
void run_transposed_matmuls(ThreadPool& pool, const Kernels& kernels, std::span<const TransposedMatmul> products);
void run_transposed_matmuls(ThreadPool& pool, const Kernels& kernels, std::span<const Bf16TransposedMatmul> products);

// y = x rounded to bfloat16, n numbers.
void round_rows(ThreadPool& pool, const Kernels& kernels, const float* x, int64_t n, uint16_t* y);

}  // namespace candor::engine
