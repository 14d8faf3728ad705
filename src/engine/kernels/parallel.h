// Matrix products over the pool's threads. Threads split outputs (rows and panels of C), never sums, so nothing here
// can change a bit (kernels.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "engine/kernels/kernels.h"

namespace candor::engine {

// A product whose weights are dequantized block by block as they are met: exactly the product with the whole matrix
// dequantized. Of `product`, b is not read.
template <typename Product>
struct Dequantized {
  Product product;
  QuantizedWeights weights;
};
using DequantizedMatmul = Dequantized<Matmul>;
using DequantizedBf16Matmul = Dequantized<Bf16Matmul>;

// One product, on this thread.
void run_matmul(const Kernels& kernels, const Matmul& m);
void run_matmul(const Kernels& kernels, const Bf16Matmul& m);
void run_matmul(const Kernels& kernels, const Int8Matmul& m);
void run_matmul(const Kernels& kernels, const DequantizedMatmul& m);
void run_matmul(const Kernels& kernels, const DequantizedBf16Matmul& m);

// What is added to another product's C by the task that computes it, while it lies in the cache: `product`, which
// accumulates, has all panels of that C, and its rows from `row` on.
struct Follower {
  const float* of = nullptr;  // the other one's C
  int64_t row = 0;
  Matmul product;
};

// What becomes of some rows of another product's C once it is whole: c·factor, then ⊙ gain, then + bias.
struct Finish {
  const float* of = nullptr;  // the other one's C
  int64_t row = 0, rows = 0;
  float factor = 1;
  const float *gain = nullptr, *bias = nullptr;  // by column, as many as its panels have; or null
};

// y = x as other arithmetic reads it: n numbers rounded to bfloat16; rows of n quantized.
struct Rounding {
  const float* x = nullptr;
  int64_t n = 0;
  uint16_t* y = nullptr;
};
struct Quantizing {
  const float* x = nullptr;
  int64_t rows = 0, n = 0;
  uint8_t* y = nullptr;
};

// Independent work in one round of the pool: nothing may read or write what another writes, but for followers, each of
// which comes after the product it follows, and after the followers before it, and for finishes, which come last. Give
// all that is ready at once (q, k and v; gate and up): it saves rounds and balances better.
struct Matmuls {
  std::vector<Matmul> float32;
  std::vector<Bf16Matmul> bf16;
  std::vector<Int8Matmul> int8;
  std::vector<DequantizedMatmul> dequantized;
  std::vector<DequantizedBf16Matmul> dequantized_bf16;
  std::vector<Rounding> roundings;
  std::vector<Quantizing> quantizings;
  std::vector<Follower> followers;
  std::vector<Finish> finishes;

  void add(const Matmul& m) { float32.push_back(m); }
  void add(const Bf16Matmul& m) { bf16.push_back(m); }
  void add(const Int8Matmul& m) { int8.push_back(m); }
  void add(const DequantizedMatmul& m) { dequantized.push_back(m); }
  void add(const DequantizedBf16Matmul& m) { dequantized_bf16.push_back(m); }
};
void run_matmuls(ThreadPool& pool, const Kernels& kernels, const Matmuls& products);
void run_matmuls(ThreadPool& pool, const Kernels& kernels, std::span<const Matmul> products);

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
  // Instead of `weight`: a quantized one, whose blocks are dequantized to Number, zeros beyond its last input.
  const QuantizedWeights* quantized = nullptr;
};
using TransposedMatmul = TransposedProduct<float>;
using Bf16TransposedMatmul = TransposedProduct<uint16_t>;

// All with the same rows, in, dx and dx_row, in one round: they add to dX in the order given (dx of q, k and v; of gate
// and up). Only the first one's `accumulate` is read; the others add. Followers (of dX) come after all of them.
void run_transposed_matmuls(ThreadPool& pool, const Kernels& kernels, std::span<const TransposedMatmul> products,
                            std::span<const Follower> followers = {});
void run_transposed_matmuls(ThreadPool& pool, const Kernels& kernels, std::span<const Bf16TransposedMatmul> products,
                            std::span<const Follower> followers = {});

// y = x rounded to bfloat16, n numbers.
void round_rows(ThreadPool& pool, const Kernels& kernels, const float* x, int64_t n, uint16_t* y);

// Rows of n numbers, n a multiple of 16, quantized; y has quantized_row_bytes(n) for each.
void quantize_rows(ThreadPool& pool, const Kernels& kernels, const float* x, int64_t rows, int64_t n, uint8_t* y);

// Inputs [column, column + 16) of the outputs of one panel of a quantized matrix, as dx reads them: [16 outputs][16
// inputs], in bfloat16 pairs along the outputs.
void transpose_quantized(const Kernels& kernels, const QuantizedWeights& weights, int64_t panel, int64_t column,
                         float* to);
void transpose_quantized(const Kernels& kernels, const QuantizedWeights& weights, int64_t panel, int64_t column,
                         uint16_t* to);

}  // namespace candor::engine
