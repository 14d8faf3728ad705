// Quantized weights and activations for AVX2, where nothing multiplies bytes without saturating.
//
// Codes of 8 bits become words: of four inputs the first and third, then the second and fourth, each pair against such
// a pair of activations with vpmaddwd, which is exact. Codes of 4 bits fit vpmaddubsw: 8 steps of two products of at
// most 15·127 stay within 8·2·15·127 = 30480 of 16 bits, and a group has no more; 8-bit codes would saturate at the
// first pair.
#include "engine/kernels/int8_levels.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

#include <cstring>

namespace candor::engine::avx2 {

namespace {

constexpr int64_t kTileRows = 4;
// Rows and inputs whose activations are spread into words at a time: 128 KB, which stay in the second-level cache.
constexpr int64_t kRowBlock = 64, kDepthBlock = 1024;
constexpr int64_t kAhead = 12288;  // bytes that are read ahead: the panels lie one behind the other

int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

__m256i load32(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

__m256 load_halves(const uint8_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

// d or m of one group, for eight outputs of the panel: h is 0 or 1.
__m256 load_scales(bool nested, const uint8_t* scales, const uint8_t* factors, int64_t group, int64_t factor, int h) {
  if (!nested) return load_halves(scales + group * 2 * kLanes + h * 16);
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(scales + group * kLanes + h * 8));
  return _mm256_mul_ps(load_halves(factors + factor * 2 * kLanes + h * 16),
                       _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)));
}

__m256i broadcast4(const void* p) {
  int32_t four = 0;
  std::memcpy(&four, p, sizeof(four));
  return _mm256_set1_epi32(four);
}

// One panel against a few rows, inputs [k0, k0 + depth) of all.
struct Tile {
  const Int8Matmul& m;
  const uint8_t* row;    // activations as m.a has them, of the first row
  const int16_t* words;  // the same spread: of four codes the first, third, second and fourth, from k0 on
  int64_t words_row;
  const uint8_t* panel;
  float* c;
  int64_t k0, depth;
  bool accumulate;
};

// The sums of integers of one group, R rows × 16 outputs, codes of 8 bits.
template <int kGroup, int R>
void sum_words(const uint8_t* codes, const int16_t* words, int64_t words_row, __m256i (&sum)[R][2]) {
  const __m256i low_bytes = _mm256_set1_epi16(0xff);
#pragma GCC unroll 1
  for (int step = 0; step < kGroup / 4; ++step, codes += 64, words += 4) {
    __m256i even[2], odd[2];
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m256i bytes = load32(codes + 32 * h);
      even[h] = _mm256_and_si256(bytes, low_bytes);
      odd[h] = _mm256_srli_epi16(bytes, 8);
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      const __m256i x_even = broadcast4(words + i * words_row), x_odd = broadcast4(words + i * words_row + 2);
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        sum[i][h] = _mm256_add_epi32(sum[i][h], _mm256_madd_epi16(even[h], x_even));
        sum[i][h] = _mm256_add_epi32(sum[i][h], _mm256_madd_epi16(odd[h], x_odd));
      }
    }
  }
}

// The same of 4 bits. row: the activations' codes.
template <int kGroup, int R>
void sum_nibbles(const uint8_t* codes, const uint8_t* row, int64_t row_bytes, __m256i (&sum)[R][2]) {
  const __m256i low_halves = _mm256_set1_epi8(0x0f);
  __m256i products[R][2];
  for (auto& of_row : products) of_row[0] = of_row[1] = _mm256_setzero_si256();
#pragma GCC unroll 1
  for (int step = 0; step < kGroup / 8; ++step, codes += 64, row += 4) {
    __m256i low[2], high[2];
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m256i bytes = load32(codes + 32 * h);
      low[h] = _mm256_and_si256(bytes, low_halves);
      high[h] = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_halves);
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      const __m256i x_low = broadcast4(row + i * row_bytes), x_high = broadcast4(row + i * row_bytes + kGroup / 2);
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        products[i][h] = _mm256_add_epi16(products[i][h], _mm256_maddubs_epi16(low[h], x_low));
        products[i][h] = _mm256_add_epi16(products[i][h], _mm256_maddubs_epi16(high[h], x_high));
      }
    }
  }
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) sum[i][h] = _mm256_add_epi32(sum[i][h], _mm256_madd_epi16(products[i][h], ones));
  }
}

// R rows × one panel. The float sums stay in C between groups.
template <int kBits, int kGroup, int R>
void run_tile(const Tile& t) {
  const Int8Matmul& m = t.m;
  const bool minimum = m.format.minimum, nested = m.format.nested;
  const int32_t zero = minimum ? 0 : m.format.zero;
  const QuantizedPanel parts(m.format, m.depth, t.panel);
  constexpr int64_t kCodeBytes = kGroup * kLanes * kBits / 8;
  for (int64_t k = t.k0; k < t.k0 + t.depth; k += kGroup) {
    const int64_t group = k / kGroup, half = kGroup == 16 ? group % 2 : 0;
    const uint8_t* facts = t.row + m.depth + k / kQuantizedGroup * kQuantizedGroup;
    auto of = [&](int i) { return reinterpret_cast<const ActivationGroup*>(facts + i * m.a_row); };
    __m256i sum[R][2];
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i)
      sum[i][0] = sum[i][1] = _mm256_set1_epi32(-zero * (kGroup == 16 ? of(i)->half_sums[half] : of(i)->sum));
    const uint8_t* codes = parts.codes + group * kCodeBytes;
    for (int64_t ahead = 0; ahead < kCodeBytes; ahead += 64)
      _mm_prefetch(reinterpret_cast<const char*>(codes + kAhead + ahead), _MM_HINT_T1);
    if constexpr (kBits == 8)
      sum_words<kGroup, R>(codes, t.words + (k - t.k0), t.words_row, sum);
    else
      sum_nibbles<kGroup, R>(codes, t.row + k, m.a_row, sum);
    const bool from_zero = k == t.k0 && !t.accumulate;
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m256 d = load_scales(nested, parts.scales, parts.scale_factors, group, k / 256, h);
      const __m256 least = minimum ? load_scales(nested, parts.minimums, parts.minimum_factors, group, k / 256, h) : d;
#pragma GCC unroll 8
      for (int i = 0; i < R; ++i) {
        float* c = t.c + i * m.c_row + 8 * h;
        __m256 y = from_zero ? _mm256_setzero_ps() : _mm256_loadu_ps(c);
        y = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum[i][h]), d), _mm256_set1_ps(of(i)->scale), y);
        if (minimum)
          y = _mm256_fmadd_ps(least, _mm256_set1_ps(kGroup == 16 ? of(i)->scaled_halves[half] : of(i)->scaled_sum), y);
        _mm256_storeu_ps(c, y);
      }
    }
  }
}

using RunTile = void (*)(const Tile&);
template <int kBits, int kGroup>
constexpr RunTile kTiles[] = {run_tile<kBits, kGroup, 1>, run_tile<kBits, kGroup, 2>, run_tile<kBits, kGroup, 3>,
                              run_tile<kBits, kGroup, 4>};

// Of four codes the first and third, then the second and fourth.
void spread(const uint8_t* codes, int64_t count, int16_t* words) {
  const __m128i order = _mm_set_epi8(15, 13, 14, 12, 11, 9, 10, 8, 7, 5, 6, 4, 3, 1, 2, 0);
  for (int64_t k = 0; k < count; k += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + k));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(words + k), _mm256_cvtepi8_epi16(_mm_shuffle_epi8(bytes, order)));
  }
}

template <int kBits, int kGroup>
void run(const Int8Matmul& m) {
  alignas(64) int16_t words[kBits == 8 ? kRowBlock * kDepthBlock : 1];
  for (int64_t i0 = 0; i0 < m.rows; i0 += kRowBlock) {
    const int64_t rows = smaller(m.rows - i0, kRowBlock);
    for (int64_t k0 = 0; k0 < m.depth; k0 += kDepthBlock) {
      const int64_t depth = smaller(m.depth - k0, kDepthBlock);
      for (int64_t i = 0; i < rows && kBits == 8; ++i)
        spread(m.a + (i0 + i) * m.a_row + k0, depth, words + i * kDepthBlock);
      for (int64_t p = 0; p < m.panels; ++p) {
        for (int64_t i = 0, count = 0; i < rows; i += count) {
          const int64_t rest = rows - i;
          count = rest == 5 ? 3 : smaller(rest, kTileRows);  // 5 as 3 + 2
          kTiles<kBits, kGroup>[count - 1]({m, m.a + (i0 + i) * m.a_row, kBits == 8 ? words + i * kDepthBlock : nullptr,
                                            kDepthBlock, m.b + p * m.b_panel, m.c + (i0 + i) * m.c_row + p * kLanes, k0,
                                            depth, m.accumulate || k0 > 0});
        }
      }
    }
  }
}

// Weights of inputs [k, k + 4), eight outputs of the panel: h is 0 or 1.
struct Columns {
  const QuantizedFormat& format;
  const QuantizedPanel& panel;
  __m256 d[2], m[2];

  void load_group(int64_t k) {
    const int64_t group = k / format.group, factor = k / 256;
    for (int h = 0; h < 2; ++h) {
      d[h] = load_scales(format.nested, panel.scales, panel.scale_factors, group, factor, h);
      if (format.minimum) m[h] = load_scales(format.nested, panel.minimums, panel.minimum_factors, group, factor, h);
    }
  }
  // The codes of those inputs, k a multiple of 4.
  __m256i codes(int64_t k, int h) const {
    const CodePlace place = code_place(format, k, 0);
    const __m256i bytes = load32(panel.codes + place.byte + 32 * h);
    if (format.bits == 8) return bytes;
    return _mm256_and_si256(place.shift == 0 ? bytes : _mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(0x0f));
  }
  template <int kByte>
  __m256 value(__m256i bytes, int h) const {
    const __m256i code = _mm256_and_si256(_mm256_srli_epi32(bytes, 8 * kByte), _mm256_set1_epi32(0xff));
    if (format.minimum) return _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(code), d[h]), m[h]);
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(code, _mm256_set1_epi32(format.zero))), d[h]);
  }
};

// Calls act(i, h, weights of input k + i, weights of input k + i + 1) pair by pair.
template <typename Act>
void each_pair(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count, Act act) {
  const QuantizedPanel parts(format, depth, panel);
  Columns columns{format, parts, {}, {}};
  for (int64_t i = 0; i < count; i += 4) {
    if (i % 16 == 0) columns.load_group(k + i);
    for (int h = 0; h < 2; ++h) {
      const __m256i bytes = columns.codes(k + i, h);
      act(i, h, columns.value<0>(bytes, h), columns.value<1>(bytes, h));
      act(i + 2, h, columns.value<2>(bytes, h), columns.value<3>(bytes, h));
    }
  }
}

// To nearest even, in the upper half of each lane; the numbers are finite.
__m256i rounded_bf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  return _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
}

int32_t sum_of(__m256i x) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}

int32_t largest_of(__m256i x) {
  __m128i most = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(most, _mm_shuffle_epi32(most, 0xb1)));
}

// 16 numbers as codes into 16 bytes; returns their sum.
int32_t store_codes(__m256 first, __m256 second, __m256 factor, uint8_t* to) {
  const __m256i code0 = _mm256_cvtps_epi32(_mm256_mul_ps(first, factor));
  const __m256i code1 = _mm256_cvtps_epi32(_mm256_mul_ps(second, factor));
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(code0, code1), 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
  return sum_of(_mm256_add_epi32(code0, code1));
}

void quantize_row(const float* x, int64_t n, uint8_t* row) {
  const int64_t depth = quantized_depth(n);
  auto* groups = reinterpret_cast<ActivationGroup*>(row + depth);
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  for (int64_t k = 0; k < depth; k += kQuantizedGroup, ++groups) {
    __m256 part[4];
    __m256i most = _mm256_setzero_si256();
    for (int j = 0; j < 4; ++j) {
      part[j] = k + 8 * j < n ? _mm256_loadu_ps(x + k + 8 * j) : _mm256_setzero_ps();
      most = _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(part[j]), magnitude));
    }
    const auto [factor, scale] = activation_scale(static_cast<uint32_t>(largest_of(most)));
    if (factor == 0)
      for (__m256& p : part) p = _mm256_setzero_ps();
    const __m256 by = _mm256_set1_ps(factor);
    const int32_t sum0 = store_codes(part[0], part[1], by, row + k);
    const int32_t sum1 = store_codes(part[2], part[3], by, row + k + 16);
    *groups = activation_group(scale, sum0, sum1);
  }
}

void int8_matmul(const Int8Matmul& m) {
  if (m.format.bits == 8)
    m.format.group == 32 ? run<8, 32>(m) : run<8, 16>(m);
  else
    m.format.group == 32 ? run<4, 32>(m) : run<4, 16>(m);
}

void dequantize(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count,
                float* out) {
  each_pair(format, depth, panel, k, count, [&](int64_t i, int h, __m256 even, __m256 odd) {
    _mm256_storeu_ps(out + i * kLanes + 8 * h, even);
    _mm256_storeu_ps(out + (i + 1) * kLanes + 8 * h, odd);
  });
}

void dequantize_bf16(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count,
                     uint16_t* out) {
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  each_pair(format, depth, panel, k, count, [&](int64_t i, int h, __m256 even, __m256 odd) {
    const __m256i pair =
        _mm256_or_si256(_mm256_srli_epi32(rounded_bf16(even), 16), _mm256_and_si256(rounded_bf16(odd), upper));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i * kLanes + 16 * h), pair);
  });
}

// Products that are added up, as many chains as a tile has; `multiply` takes two registers that the compiler cannot see
// into. 16 lanes of words or 32 of bytes.
template <int kLanesOfOne, typename Multiply, typename Add>
int64_t sums_of_products(int64_t rounds, float* value, Multiply multiply, Add add) {
  constexpr int kChains = 12;
  __m256i w = _mm256_set1_epi16(3), x = _mm256_set1_epi16(5);
  __m256i sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = _mm256_set1_epi32(static_cast<int32_t>(*value) + c);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) {
      __asm__("" : "+x"(x));
      sums[c] = add(sums[c], multiply(w, x));
    }
  }
  for (int c = 0; c < kChains; ++c) *value += 1e-9f * static_cast<float>(sum_of(sums[c]));
  return rounds * kChains * kLanesOfOne * 2;
}

int64_t int8_multiply_add(int64_t rounds, float* value) {
  return sums_of_products<16>(
      rounds, value, [](__m256i w, __m256i x) { return _mm256_madd_epi16(w, x); },
      [](__m256i sum, __m256i product) { return _mm256_add_epi32(sum, product); });
}

int64_t int4_multiply_add(int64_t rounds, float* value) {
  return sums_of_products<32>(
      rounds, value, [](__m256i w, __m256i x) { return _mm256_maddubs_epi16(w, x); },
      [](__m256i sum, __m256i product) { return _mm256_add_epi16(sum, product); });
}

}  // namespace

void add_int8(Kernels& kernels) {
  kernels.quantize_row = quantize_row;
  kernels.int8_matmul = int8_matmul;
  kernels.dequantize = dequantize;
  kernels.dequantize_bf16 = dequantize_bf16;
  kernels.int8_multiply_add = int8_multiply_add;
  kernels.int4_multiply_add = int4_multiply_add;
}

}  // namespace candor::engine::avx2

#endif
