// Sixteen floats at a time, with the formulas and the orders of avx2_math.h: what is computed here has AVX2's bits.
// Included only by files compiled for AVX-512. They use no inline function of the standard library, nor of
// avx2_math.h: the linker could keep the AVX-512 copy of such a function for the whole program.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace candor::engine::avx512 {

// A whole vector, or the first few of its lanes (the others read as 0 and are not written).
struct Full {
  __m512 load(const float* p) const { return _mm512_loadu_ps(p); }
  void store(float* p, __m512 x) const { _mm512_storeu_ps(p, x); }
  __m512 keep(__m512 x) const { return x; }
  __m512 keep_or(__m512 x, __m512) const { return x; }
};

struct Part {
  __mmask16 mask;
  __m512 load(const float* p) const { return _mm512_maskz_loadu_ps(mask, p); }
  void store(float* p, __m512 x) const { _mm512_mask_storeu_ps(p, mask, x); }
  __m512 keep(__m512 x) const { return _mm512_maskz_mov_ps(mask, x); }
  __m512 keep_or(__m512 x, __m512 otherwise) const { return _mm512_mask_mov_ps(otherwise, mask, x); }
};

// count: 0 to 16.
inline Part first_lanes(int64_t count) {
  return {static_cast<__mmask16>((1u << count) - 1)};
}

// Calls body(i, lanes) for i = 0, 16, 32, … below n. Every element goes through the same operations in either form.
template <typename Body>
inline __attribute__((always_inline)) void each_vector(int64_t n, Body&& body) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) body(i, Full{});
  if (i < n) body(i, first_lanes(n - i));
}

// e^x as avx2_math.h's exp8, operation for operation.
inline __m512 exp16(__m512 x) {
  x = _mm512_min_ps(_mm512_set1_ps(89.0f), x);
  x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x);
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693147182f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-1.90465421e-9f), r);
  __m512 q = _mm512_set1_ps(1.0f / 5040);
  q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(1.0f / 720));
  q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(1.0f / 120));
  q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(1.0f / 24));
  q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(1.0f / 6));
  q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0.5f));
  const __m512 p = _mm512_add_ps(_mm512_fmadd_ps(_mm512_mul_ps(r, r), q, r), _mm512_set1_ps(1.0f));
  const __m512i exponent = _mm512_cvtps_epi32(n);
  const __m512i half = _mm512_srai_epi32(exponent, 1);
  auto power = [](__m512i e) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(e, _mm512_set1_epi32(127)), 23));
  };
  return _mm512_mul_ps(_mm512_mul_ps(p, power(half)), power(_mm512_sub_epi32(exponent, half)));
}

inline float exp1(float x) {
  return _mm512_cvtss_f32(exp16(_mm512_set1_ps(x)));
}

inline __m256 low_half(__m512 x) {
  return _mm512_castps512_ps256(x);
}
inline __m256 high_half(__m512 x) {
  return _mm512_extractf32x8_ps(x, 1);
}

// (0+4)+(2+6) + (1+5)+(3+7).
inline float sum8(__m256 x) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

inline float max16(__m512 x) {
  const __m256 half = _mm256_max_ps(low_half(x), high_half(x));
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

inline __m512d low_doubles(__m512 x) {
  return _mm512_cvtps_pd(low_half(x));
}
inline __m512d high_doubles(__m512 x) {
  return _mm512_cvtps_pd(high_half(x));
}

// Sums of floats in eight lanes of double: lane l adds elements l, l + 8, …; then the lanes in a fixed tree.
struct DoubleSum {
  __m512d lanes = _mm512_setzero_pd();
  void add(__m512 x) {
    lanes = _mm512_add_pd(lanes, low_doubles(x));
    lanes = _mm512_add_pd(lanes, high_doubles(x));
  }
  void add_product(__m512 x, __m512 y) {
    lanes = _mm512_fmadd_pd(low_doubles(x), low_doubles(y), lanes);
    lanes = _mm512_fmadd_pd(high_doubles(x), high_doubles(y), lanes);
  }
  double total() const {
    const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(lanes), _mm512_extractf64x4_pd(lanes, 1));
    const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
  }
};

}  // namespace candor::engine::avx512
