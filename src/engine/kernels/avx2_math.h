// Eight floats at a time: loads and stores that may end in the middle of a vector, exp, and sums in a fixed order.
// Included only by files compiled for AVX2. They use no inline function of the standard library: the linker could keep
// the AVX2 copy of such a function for the whole program.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace candor::engine::avx2 {

// A whole vector, or the first few of its lanes (the others read as 0 and are not written).
struct Full {
  __m256 load(const float* p) const { return _mm256_loadu_ps(p); }
  void store(float* p, __m256 x) const { _mm256_storeu_ps(p, x); }
  __m256 keep(__m256 x) const { return x; }
  __m256 keep_or(__m256 x, __m256) const { return x; }
};

struct Part {
  __m256i mask;
  __m256 load(const float* p) const { return _mm256_maskload_ps(p, mask); }
  void store(float* p, __m256 x) const { _mm256_maskstore_ps(p, mask, x); }
  __m256 keep(__m256 x) const { return _mm256_and_ps(x, _mm256_castsi256_ps(mask)); }
  __m256 keep_or(__m256 x, __m256 otherwise) const { return _mm256_blendv_ps(otherwise, x, _mm256_castsi256_ps(mask)); }
};

inline Part first_lanes(int64_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane)};
}

// Calls body(i, lanes) for i = 0, 8, 16, … below n. Every element goes through the same operations in either form.
template <typename Body>
inline __attribute__((always_inline)) void each_vector(int64_t n, Body&& body) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) body(i, Full{});
  if (i < n) body(i, first_lanes(n - i));
}

// e^x to 1.2 units in the last place: x = n·ln 2 + r with |r| <= ln(2)/2, Taylor's series in r (its tail is below
// 6e-9), and 2^n in two steps, so that results below 1.2e-38 round once into the denormal numbers. exp(0) is 1, NaN
// stays NaN (min and max return their second operand then), -infinity gives 0.
inline __m256 exp8(__m256 x) {
  x = _mm256_min_ps(_mm256_set1_ps(89.0f), x);
  x = _mm256_max_ps(_mm256_set1_ps(-104.0f), x);
  const __m256 n =
      _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693147182f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-1.90465421e-9f), r);
  __m256 q = _mm256_set1_ps(1.0f / 5040);
  q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(1.0f / 720));
  q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(1.0f / 120));
  q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(1.0f / 24));
  q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(1.0f / 6));
  q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.5f));
  const __m256 p = _mm256_add_ps(_mm256_fmadd_ps(_mm256_mul_ps(r, r), q, r), _mm256_set1_ps(1.0f));
  const __m256i exponent = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(exponent, 1);
  auto power = [](__m256i e) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
  };
  return _mm256_mul_ps(_mm256_mul_ps(p, power(half)), power(_mm256_sub_epi32(exponent, half)));
}

inline float exp1(float x) {
  return _mm256_cvtss_f32(exp8(_mm256_set1_ps(x)));
}

// (0+4)+(2+6) + (1+5)+(3+7).
inline float sum8(__m256 x) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

inline double sum4(__m256d x) {
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

inline float max8(__m256 x) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

inline __m256d low_doubles(__m256 x) {
  return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
}
inline __m256d high_doubles(__m256 x) {
  return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
}

// Sums of floats in eight lanes of double: lane l adds elements l, l + 8, …; then the lanes in a fixed tree.
struct DoubleSum {
  __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
  void add(__m256 x) {
    low = _mm256_add_pd(low, low_doubles(x));
    high = _mm256_add_pd(high, high_doubles(x));
  }
  void add_product(__m256 x, __m256 y) {
    low = _mm256_fmadd_pd(low_doubles(x), low_doubles(y), low);
    high = _mm256_fmadd_pd(high_doubles(x), high_doubles(y), high);
  }
  double total() const { return sum4(_mm256_add_pd(low, high)); }
};

}  // namespace candor::engine::avx2
