// The kernels: every loop over weights or activations, behind one table of function pointers chosen at run time.
//
// One file per instruction set: plain.cpp is the readable reference, avx2.cpp the same operations for AVX2 and FMA,
// avx512.cpp for AVX-512. A level may differ from another in the last bits (avx2, avx512 and avx512_bf16 keep the same
// orders and have the same bits, but for one thing: avx512_bf16 multiplies bfloat16 with vdpbf16ps, to which denormal
// numbers are 0), never within itself: the value of an output does not depend on how many rows, panels or threads share
// a call. That holds because
//  * every matrix product is one chain per output: k = 0, 1, 2, … in order, one accumulator (Matmul below);
//  * every other sum runs over one row in an order that depends only on its length.
// Whatever blocks a kernel uses for speed, it must keep these orders (kernels_test.cpp compares bits).
//
// All float rows are padded to whole panels of 16 columns (padded()); the padding holds zeros, in weights and
// activations.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "base/result.h"
#include "engine/kernels/quantized.h"

namespace candor::engine {

inline constexpr int64_t kPanel = 16;
inline constexpr int64_t padded(int64_t n) {
  return (n + kPanel - 1) / kPanel * kPanel;
}

// C[i, 16p + j] = (accumulate ? C : 0) + sum over k of A[i, k]·B[k, 16p + j].
//
// A[i, k] = a[i·a_row + k·a_k];  B[k, 16p + j] = b[p·b_panel + k·b_k + j];  C[i, 16p + j] = c[i·c_row + 16p + j].
// A weight [out, in] is packed as panels of 16 outputs, [out/16][in][16] (b_k 16, b_panel 16·in); a row-major matrix
// [depth, n] is its own B (b_k its row stride, b_panel 16). a_k = 1 for activations, a_row = 1 for a weight gradient
// (A transposed): there k runs over tokens and accumulate adds them to C in row order, so any split of the tokens into
// calls gives the same bits. One of a_row and a_k is always 1.
struct Matmul {
  const float* a = nullptr;
  int64_t a_row = 0, a_k = 1;
  const float* b = nullptr;
  int64_t b_k = kPanel, b_panel = 0;
  float* c = nullptr;
  int64_t c_row = 0;
  int64_t rows = 0, panels = 0, depth = 0;
  bool accumulate = false;
};

// The same product of bfloat16 numbers (bits in uint16), added up in float32:
// C[i, 16p + j] = (accumulate ? C : 0) + sum over k of A[i, k]·B[k, 16p + j], depth even.
//
// A[i, k] = a[i·a_row + k]. B lies in panels of pairs along k, [depth/2][16][2]:
// B[k, 16p + j] = b[p·b_panel + k/2·32 + 2j + k%2]. A weight [out, in] is packed once as
// [padded(out)/16][padded(in)/2][16][2]. a_row is even. One chain per output, pairs in order, of each pair the odd k
// first (as vdpbf16ps does), so depth may be split between calls at any even k.
struct Bf16Matmul {
  const uint16_t* a = nullptr;
  int64_t a_row = 0;
  const uint16_t* b = nullptr;
  int64_t b_panel = 0;
  float* c = nullptr;
  int64_t c_row = 0;
  int64_t rows = 0, panels = 0, depth = 0;
  bool accumulate = false;
};

// Running statistics of one row of logits over vocabulary blocks taken in order. z below is logit·inverse_temperature.
struct HeadState {
  float maximum;        // of z so far
  double sum;           // sum of exp(z - maximum)
  double weighted_sum;  // sum of (z - maximum)·exp(z - maximum)
  float target;         // z of the target once its block has passed
  int32_t argmax;       // smallest id among the largest z
};

constexpr HeadState initial_head_state() {
  return {-std::numeric_limits<float>::infinity(), 0, 0, 0, 0};
}

// What the head's backward needs of one row: d loss / d logprob and d loss / d entropy, and the row's own numbers.
struct HeadGradient {
  double log_sum;  // ln(sum over the vocabulary of exp(z)); a float's last bit here would already move the sum of p by
                   // 1e-6
  float entropy;
  float logprob_coefficient, entropy_coefficient;
};

// In double, since 1 - 0.999f is wrong by 5e-5: what the factors combine to is rounded to float32 once.
struct AdamwStep {
  double learning_rate, beta1, beta2, epsilon, weight_decay;
  double bias_correction1, bias_correction2;  // 1 - beta^t
  double gradient_scale;                      // clipping: the gradient is multiplied by it first
};

struct MagnitudeBackward {
  const float *dy, *y, *beside;        // [rows, stride]
  const float *bias, *inverse, *gain;  // [n]
  int64_t rows, stride, n;
  float* sums;    // [n]
  float* scaled;  // [rows, stride]
};

// Of quantized weights and activations are those that begin as null: add_int8 of the level sets them (int8_levels.h).
struct Kernels {
  const char* name;  // "plain", "avx2", "avx512", "avx512_bf16"

  // The whole product. Single-threaded: the caller splits rows and panels between threads.
  void (*matmul)(const Matmul& m);

  // out[k][j] = in[j][k] for one 16×16 block, both contiguous (256 floats).
  void (*transpose_block)(const float* in, float* out);

  // The same with bfloat16 operands.
  void (*bf16_matmul)(const Bf16Matmul& m);

  // A 16×16 block of pairs [8][16][2] with its two indices exchanged: with x(k, j) = in[k/2·32 + 2j + k%2],
  // out[j/2·32 + 2k + j%2] = x(k, j). Pairs along the inputs of a weight become pairs along its outputs, for dx.
  void (*bf16_transpose_block)(const uint16_t* in, uint16_t* out);

  // y = x rounded to bfloat16, to nearest even; NaN stays NaN. The same bits at every level. And back, exactly.
  void (*round_bf16)(const float* x, int64_t n, uint16_t* y);
  void (*widen_bf16)(const uint16_t* x, int64_t n, float* y);

  // One row of n activations, n a multiple of 16, as quantized.h lays it out; to nearest even, zeros up to the next 32.
  void (*quantize_row)(const float* x, int64_t n, uint8_t* row) = nullptr;
  // Products with quantized weights, and weights [k, k + count) of one panel back as numbers, each one or two float32
  // operations: [count][16], or rounded to bfloat16 in pairs along k, [count/2][16][2]. k and count are multiples
  // of 16. All three have the same bits at every level.
  void (*int8_matmul)(const Int8Matmul& m) = nullptr;
  void (*dequantize)(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count,
                     float* out) = nullptr;
  void (*dequantize_bf16)(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count,
                          uint16_t* out) = nullptr;

  // One row. y = x·w/sqrt(mean(x²) + eps); returns the factor 1/sqrt(…). n is the true width.
  float (*rms_norm)(const float* x, const float* weight, float epsilon, int64_t n, float* y);
  // dx += d loss / d x, given dy = d loss / d y and the factor that the forward returned.
  void (*rms_norm_backward)(const float* x, const float* weight, float factor, const float* dy, int64_t n, float* dx);

  // Rotates `heads` consecutive vectors of head_dim in place: (x_i, x_{i + d/2}) by the angle whose cos and sin
  // [head_dim/2] are given. sign +1 forward, -1 backward (the inverse rotation).
  void (*rope)(float* x, const float* cosine, const float* sine, int64_t heads, int64_t head_dim, float sign);

  // out = silu(gate)·up; and the gradients of both from d out. silu(g) = g/(1 + exp(-g)). dgate may alias gate, dup up.
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out);
  void (*silu_mul_backward)(const float* gate, const float* up, const float* dout, int64_t n, float* dgate, float* dup);

  // y += x;  y = x ⊙ y;  y += factor·x;  y = factor·y;  sum of squares in double.
  void (*add)(const float* x, int64_t n, float* y);
  void (*multiply)(const float* x, int64_t n, float* y);
  void (*axpy)(float factor, const float* x, int64_t n, float* y);
  void (*scale)(float factor, int64_t n, float* y);
  double (*sum_of_squares)(const float* x, int64_t n);
  float (*dot)(const float* x, const float* y, int64_t n);

  // DoRA's way back through y = m/n ⊙ v + b of `rows` rows, `stride` apart, of n columns: row after row
  // sums += dy·(y − beside − b)·inverse and scaled = gain ⊙ dy, which may be dy. beside and b may be null.
  void (*magnitude_backward)(const MagnitudeBackward& m);

  // One row of 16 attention scores against a key block of which the first `valid` (0..16) count. In: scores = q·k.
  // Out: scores = exp(scale·score - maximum), 0 beyond valid. Updates the row's running maximum and sum, and returns
  // the factor by which what was accumulated so far must be multiplied (exactly 1 when the maximum did not change).
  float (*softmax_block)(float* scores, int64_t valid, float scale, float* maximum, float* sum);
  // Backward: in: scores = q·k and dp = d loss / d p; out: p = exp(scale·score - log_sum) (0 beyond valid) in `scores`,
  // and ds = scale·p·(dp - delta) in `dp`.
  void (*softmax_block_backward)(float* scores, float* dp, int64_t valid, float scale, float log_sum, float delta);

  // One row, one vocabulary block: logits[0, n) of ids [first_id, first_id + n). n is at most 512; blocks come in order
  // and their borders are fixed by the caller. `target` is the target's id, anywhere in the vocabulary (-1: none). The
  // first block finds initial_head_state(). A NaN or infinite logit makes the sums NaN.
  void (*head_block)(const float* logits, int64_t n, int64_t first_id, float inverse_temperature, int64_t target,
                     HeadState* state);
  // logits -> d loss / d logits in place: with p = exp(z - log_sum),
  // dz = logprob_coefficient·(1[target] - p) - entropy_coefficient·p·(ln p + entropy); times inverse_temperature.
  void (*head_block_backward)(float* logits, int64_t n, int64_t first_id, float inverse_temperature, int64_t target,
                              const HeadGradient& gradient);

  // out = exp(x·factor - shift): probabilities of one row for the sampler.
  void (*exp_row)(const float* x, int64_t n, float factor, float shift, float* out);

  // One AdamW step (Loshchilov and Hutter, 1711.05101, as PyTorch computes it) on n parameters.
  void (*adamw)(const AdamwStep& step, const float* gradient, int64_t n, float* parameter, float* m, float* v);

  // Multiply-adds in registers, `rounds` times over; returns how many floating-point operations that was (roof.h).
  // `value` (any number) keeps the compiler from computing it ahead and receives the result.
  int64_t (*multiply_add)(int64_t rounds, float* value);
  // The same with the arithmetic of bf16_matmul.
  int64_t (*bf16_multiply_add)(int64_t rounds, float* value);
  // And with that of int8_matmul's sums of integers, of weights with codes of 8 bits and of 4.
  int64_t (*int8_multiply_add)(int64_t rounds, float* value) = nullptr;
  int64_t (*int4_multiply_add)(int64_t rounds, float* value) = nullptr;
};

const Kernels& plain_kernels();
const Kernels* avx2_kernels();         // nullptr where this processor (or this build) has no AVX2, FMA and F16C
const Kernels* avx512_kernels();       // nullptr where this processor (or this build) has no AVX-512 F, BW, DQ and VL
const Kernels* avx512_bf16_kernels();  // nullptr where it has not AVX-512 BF16 as well
bool processor_has_avx2();             // the operating system's support included
bool processor_has_avx512();
bool processor_has_avx512_bf16();
bool processor_has_avx512_vnni();

// The best level that this processor has, or the one that $CANDOR_CPU (plain, avx2, avx512, avx512_bf16) asks for.
// Error: the level is unknown, or this processor lacks it.
Result<const Kernels*> select_kernels(std::string_view wanted);

}  // namespace candor::engine
