// The bfloat16 matrix product with vdpbf16ps, for AVX-512 processors that have
// it: twice the rate of float32.
//
// The instruction takes a pair of k at a time, each lane's odd k first and then
// the even one: c = fma(a1, b1, c), c = fma(a0, b0, c), rounded to nearest.
// Unlike everything else here it reads denormal numbers as 0 and gives 0 for a
// denormal result, whatever MXCSR says.
#include "engine/kernels/avx512_matmul.h"

#if defined(__AVX512BF16__)

#include "engine/kernels/avx512_tiles.h"

namespace candor::engine::avx512 {

namespace {

struct Pair {
  static __m512 add(__m512 factor, __m512 column, __m512 sum) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(factor), reinterpret_cast<__m512bh>(column));
  }
};

}  // namespace

void bf16_matmul(const Bf16Matmul& m) {
  if (m.depth == 0) {
    for (int64_t i = 0; i < m.rows && !m.accumulate; ++i)
      for (int64_t j = 0; j < m.panels * kPanel; ++j) m.c[i * m.c_row + j] = 0;
    return;
  }
  if (m.rows == 0) return;
  const Matmul pairs{.a = reinterpret_cast<const float*>(m.a),
                     .a_row = m.a_row / 2,
                     .b = reinterpret_cast<const float*>(m.b),
                     .b_panel = m.b_panel / 2,
                     .c = m.c,
                     .c_row = m.c_row,
                     .rows = m.rows,
                     .panels = m.panels,
                     .depth = m.depth / 2,
                     .accumulate = m.accumulate};
  m.rows <= kTileRows ? few_rows<Pair>(pairs) : row_major<Pair>(pairs);
}

// Twelve chains, as multiply_add() of avx512.cpp.
int64_t bf16_multiply_add(int64_t rounds, float* value) {
  constexpr int kChains = 12;
  const __m512 half = reinterpret_cast<__m512>(_mm512_set1_epi16(0x3f00));  // bfloat16's 0.5
  __m512 sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = _mm512_set1_ps(*value + static_cast<float>(c));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = Pair::add(half, half, sums[c]);
  }
  for (int c = 0; c < kChains; ++c) *value += _mm512_cvtss_f32(sums[c]);
  return rounds * kChains * 16 * 4;
}

}  // namespace candor::engine::avx512

#endif
