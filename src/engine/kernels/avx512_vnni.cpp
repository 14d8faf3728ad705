// Quantized weights and activations with vpdpbusd, which adds four products of an unsigned and a signed byte to an
// int32 without saturating: weights are its unsigned operand. A panel of 16 outputs is one register; a tile of up to 6
// rows × 2 panels holds their integer sums of one group and their float sums.
#include "engine/kernels/int8_levels.h"

#if defined(__AVX512VNNI__)

#include <immintrin.h>

#include <cstring>

namespace candor::engine::avx512 {

namespace {

constexpr int64_t kTileRows = 6, kTilePanels = 2;
constexpr int64_t kFewRows = 2, kFewPanels = 4;  // as many chains where there are few rows
constexpr int64_t kAhead = 2048;                 // bytes of codes that a product of few rows reads ahead
constexpr int64_t kScaleBytes = 2 * kLanes;      // of a group, at most

// The next of several blocks of nearly equal size, when `rest` is left and a block holds `most`.
int64_t next_block(int64_t rest, int64_t most) {
  const int64_t blocks = (rest + most - 1) / most;
  return (rest + blocks - 1) / blocks;
}

__m512 load_halves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// d or m of one group, a lane per output.
__m512 load_scales(bool nested, const uint8_t* scales, const uint8_t* factors, int64_t group, int64_t factor) {
  if (!nested) return load_halves(scales + group * 2 * kLanes);
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(scales + group * kLanes));
  return _mm512_mul_ps(load_halves(factors + factor * 2 * kLanes), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)));
}

__m512i broadcast4(const uint8_t* p) {
  int32_t four = 0;
  std::memcpy(&four, p, sizeof(four));
  return _mm512_set1_epi32(four);
}

__m512i low_halves(__m512i x) {
  return _mm512_and_si512(x, _mm512_set1_epi8(0x0f));
}
__m512i high_halves(__m512i x) {
  return low_halves(_mm512_srli_epi16(x, 4));
}

// The part of a product that one tile computes: of its first row and panel.
struct Tile {
  const Int8Matmul& m;
  const uint8_t* a;
  const uint8_t* b;
  float* c;
  // With more than a few rows: what comes next, of which `fetch_lines` are fetched for each group, up to fetch_end.
  const uint8_t* fetch = nullptr;
  const uint8_t* fetch_end = nullptr;
  int64_t fetch_lines = 0;
};

// R rows × P panels.
template <int kBits, int kGroup, int R, int P>
void run_tile(const Tile& t) {
  const Int8Matmul& m = t.m;
  const bool minimum = m.format.minimum, nested = m.format.nested;
  const int32_t zero = minimum ? 0 : m.format.zero;
  const int64_t depth = m.depth, a_row = m.a_row, b_panel = m.b_panel;
  const QuantizedPanel first(m.format, depth, t.b);
  __m512 y[R][P];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
      y[i][p] = m.accumulate ? _mm512_loadu_ps(t.c + i * m.c_row + p * kLanes) : _mm512_setzero_ps();
  }
  const uint8_t* x = t.a;
  const uint8_t* codes = first.codes;
  const uint8_t* fetch = t.fetch;
  const uint8_t* const end = codes + m.format.code_bytes(depth);
  constexpr int kSteps = kBits == 8 ? kGroup / 4 : kGroup / 8;  // of 64 bytes of codes, for one group of weights
  for (int64_t group = 0; group < depth / kGroup; ++group) {
    const int64_t in_row = group * kGroup;
    const uint8_t* facts = t.a + depth + in_row / kQuantizedGroup * kQuantizedGroup;  // a_row apart
    const int64_t half = kGroup == 16 ? group % 2 : 0;
    auto of = [&](int i) { return reinterpret_cast<const ActivationGroup*>(facts + i * a_row); };
    __m512i sum[R][P];
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const int32_t of_codes = kGroup == 16 ? of(i)->half_sums[half] : of(i)->sum;
      const __m512i start = _mm512_set1_epi32(-zero * of_codes);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) sum[i][p] = start;
    }
    auto multiply = [&](const __m512i(&w)[P], const uint8_t* from) __attribute__((always_inline)) {
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i) {
        const __m512i factor = broadcast4(from + i * a_row);
#pragma GCC unroll 16
        for (int p = 0; p < P; ++p) sum[i][p] = _mm512_dpbusd_epi32(sum[i][p], w[p], factor);
      }
    };
    if constexpr (R > kFewRows)
      for (int64_t line = 0; line < t.fetch_lines && fetch < t.fetch_end; ++line, fetch += 64)
        _mm_prefetch(reinterpret_cast<const char*>(fetch), _MM_HINT_T1);
    // What comes kAhead bytes of codes later: at the panels' end where the next ones begin. Their scales in time.
    const uint8_t* ahead = codes + kAhead < end ? codes + kAhead : codes + kAhead - (end - first.codes) + P * b_panel;
    if constexpr (R <= kFewRows) {
      const int64_t at = P * b_panel + group * kScaleBytes;
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        _mm_prefetch(reinterpret_cast<const char*>(first.scales + at + p * b_panel), _MM_HINT_T1);
        if (minimum) _mm_prefetch(reinterpret_cast<const char*>(first.minimums + at + p * b_panel), _MM_HINT_T1);
      }
    }
#pragma GCC unroll 16
    for (int step = 0; step < kSteps; ++step) {
      __m512i w[P];
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const uint8_t* at = codes + p * b_panel + step * 64;
        w[p] = _mm512_loadu_si512(at);
        if constexpr (R <= kFewRows)
          _mm_prefetch(reinterpret_cast<const char*>(ahead + p * b_panel + step * 64), _MM_HINT_T1);
      }
      if constexpr (kBits == 8) {
        multiply(w, x + 4 * step);
      } else {
        __m512i part[P];
#pragma GCC unroll 16
        for (int p = 0; p < P; ++p) part[p] = low_halves(w[p]);
        multiply(part, x + 4 * step);
#pragma GCC unroll 16
        for (int p = 0; p < P; ++p) part[p] = high_halves(w[p]);
        multiply(part, x + kGroup / 2 + 4 * step);
      }
    }
    const int64_t factor = in_row / 256;
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) {
      const int64_t shift = p * b_panel;
      const __m512 d = load_scales(nested, first.scales + shift, first.scale_factors + shift, group, factor);
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i)
        y[i][p] =
            _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum[i][p]), d), _mm512_set1_ps(of(i)->scale), y[i][p]);
    }
    if (minimum) {
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const int64_t shift = p * b_panel;
        const __m512 least = load_scales(nested, first.minimums + shift, first.minimum_factors + shift, group, factor);
#pragma GCC unroll 16
        for (int i = 0; i < R; ++i)
          y[i][p] = _mm512_fmadd_ps(
              least, _mm512_set1_ps(kGroup == 16 ? of(i)->scaled_halves[half] : of(i)->scaled_sum), y[i][p]);
      }
    }
    x += kGroup;
    codes += kSteps * 64;
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) _mm512_storeu_ps(t.c + i * m.c_row + p * kLanes, y[i][p]);
  }
}

using RunTile = void (*)(const Tile&);
template <int kBits, int kGroup>
struct Tiles {
  static constexpr RunTile kFew[kFewRows][kFewPanels] = {
      {run_tile<kBits, kGroup, 1, 1>, run_tile<kBits, kGroup, 1, 2>, run_tile<kBits, kGroup, 1, 3>,
       run_tile<kBits, kGroup, 1, 4>},
      {run_tile<kBits, kGroup, 2, 1>, run_tile<kBits, kGroup, 2, 2>, run_tile<kBits, kGroup, 2, 3>,
       run_tile<kBits, kGroup, 2, 4>}};
  static constexpr RunTile kMany[kTileRows][kTilePanels] = {
      {run_tile<kBits, kGroup, 1, 1>, run_tile<kBits, kGroup, 1, 2>},
      {run_tile<kBits, kGroup, 2, 1>, run_tile<kBits, kGroup, 2, 2>},
      {run_tile<kBits, kGroup, 3, 1>, run_tile<kBits, kGroup, 3, 2>},
      {run_tile<kBits, kGroup, 4, 1>, run_tile<kBits, kGroup, 4, 2>},
      {run_tile<kBits, kGroup, 5, 1>, run_tile<kBits, kGroup, 5, 2>},
      {run_tile<kBits, kGroup, 6, 1>, run_tile<kBits, kGroup, 6, 2>}};
};

// Panels outermost: those of one tile stay in the cache while the rows pass, so memory is read once.
template <int kBits, int kGroup>
void run(const Int8Matmul& m) {
  using Of = Tiles<kBits, kGroup>;
  const bool few = m.rows <= kFewRows;
  for (int64_t p = 0, panels = 0; p < m.panels; p += panels) {
    panels = next_block(m.panels - p, few ? kFewPanels : kTilePanels);
    const uint8_t* b = m.b + p * m.b_panel;
    const uint8_t* fetch = b + panels * m.b_panel;
    const uint8_t* const fetch_end = fetch + panels * m.b_panel;
    const int64_t steps = m.depth / kGroup * ((m.rows + kTileRows - 1) / kTileRows);
    const int64_t lines = (fetch_end - fetch) / (64 * steps + 1) + 1;
    for (int64_t i = 0, rows = 0; i < m.rows; i += rows, fetch += m.depth / kGroup * lines * 64) {
      rows = next_block(m.rows - i, kTileRows);
      const RunTile tile = few ? Of::kFew[rows - 1][panels - 1] : Of::kMany[rows - 1][panels - 1];
      tile({m, m.a + i * m.a_row, b, m.c + i * m.c_row + p * kLanes, fetch, fetch_end, lines});
    }
  }
}

int32_t sum_of(__m512i x) {
  return _mm512_reduce_add_epi32(x);
}

// Weights of four inputs [k, k + 4), byte by byte.
struct Columns {
  const QuantizedFormat& format;
  const QuantizedPanel& panel;
  __m512 d, m;

  void load_group(int64_t k) {
    const int64_t group = k / format.group, factor = k / 256;
    d = load_scales(format.nested, panel.scales, panel.scale_factors, group, factor);
    if (format.minimum) m = load_scales(format.nested, panel.minimums, panel.minimum_factors, group, factor);
  }
  // The codes of inputs [k, k + 4), k a multiple of 4.
  __m512i codes(int64_t k) const {
    const CodePlace place = code_place(format, k, 0);
    const __m512i bytes = _mm512_loadu_si512(panel.codes + place.byte);
    if (format.bits == 8) return bytes;
    return place.shift == 0 ? low_halves(bytes) : high_halves(bytes);
  }
  template <int kByte>
  __m512 value(__m512i bytes) const {
    const __m512i code = _mm512_and_si512(_mm512_srli_epi32(bytes, 8 * kByte), _mm512_set1_epi32(0xff));
    if (format.minimum) return _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(code), d), m);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(code, _mm512_set1_epi32(format.zero))), d);
  }
};

// Calls act(i, weights of input k + i) pair by pair: act(i, even, odd).
template <typename Act>
void each_pair(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count, Act act) {
  const QuantizedPanel parts(format, depth, panel);
  Columns columns{format, parts, _mm512_setzero_ps(), _mm512_setzero_ps()};
  for (int64_t i = 0; i < count; i += 4) {
    if (i % 16 == 0) columns.load_group(k + i);
    const __m512i bytes = columns.codes(k + i);
    act(i, columns.value<0>(bytes), columns.value<1>(bytes));
    act(i + 2, columns.value<2>(bytes), columns.value<3>(bytes));
  }
}

// To nearest even, in the upper half of each lane; the numbers are finite.
__m512i rounded_bf16(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
}

void quantize_row(const float* x, int64_t n, uint8_t* row) {
  const int64_t depth = quantized_depth(n);
  auto* groups = reinterpret_cast<ActivationGroup*>(row + depth);
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  for (int64_t k = 0; k < depth; k += kQuantizedGroup, ++groups) {
    const __m512 first = _mm512_loadu_ps(x + k);
    const __m512 second = k + 16 < n ? _mm512_loadu_ps(x + k + 16) : _mm512_setzero_ps();
    const uint32_t largest =
        _mm512_reduce_max_epu32(_mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(first), magnitude),
                                                 _mm512_and_si512(_mm512_castps_si512(second), magnitude)));
    const auto [factor, scale] = activation_scale(largest);
    const __mmask16 used = factor != 0 ? 0xffff : 0;
    const __m512 by = _mm512_set1_ps(factor);
    const __m512i code0 = _mm512_maskz_cvtps_epi32(used, _mm512_mul_ps(first, by));
    const __m512i code1 = _mm512_maskz_cvtps_epi32(used, _mm512_mul_ps(second, by));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(row + k), _mm512_cvtepi32_epi8(code0));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(row + k + 16), _mm512_cvtepi32_epi8(code1));
    *groups = activation_group(scale, sum_of(code0), sum_of(code1));
  }
}

void int8_matmul(const Int8Matmul& m) {
  if (m.rows == 0) return;
  if (m.format.bits == 8)
    m.format.group == 32 ? run<8, 32>(m) : run<8, 16>(m);
  else
    m.format.group == 32 ? run<4, 32>(m) : run<4, 16>(m);
}

void dequantize(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count,
                float* out) {
  each_pair(format, depth, panel, k, count, [&](int64_t i, __m512 even, __m512 odd) {
    _mm512_storeu_ps(out + i * kLanes, even);
    _mm512_storeu_ps(out + (i + 1) * kLanes, odd);
  });
}

void dequantize_bf16(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count,
                     uint16_t* out) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  each_pair(format, depth, panel, k, count, [&](int64_t i, __m512 even, __m512 odd) {
    const __m512i pair =
        _mm512_or_si512(_mm512_srli_epi32(rounded_bf16(even), 16), _mm512_and_si512(rounded_bf16(odd), upper));
    _mm512_storeu_si512(out + i * kLanes, pair);
  });
}

// Sixteen chains: vpdpbusd has latency 4 or 5, one or two a cycle.
int64_t int8_multiply_add(int64_t rounds, float* value) {
  constexpr int kChains = 16;
  const __m512i w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(-1);
  __m512i sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = _mm512_set1_epi32(static_cast<int32_t>(*value) + c);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < kChains; ++c) sums[c] = _mm512_dpbusd_epi32(sums[c], w, x);
  }
  for (int c = 0; c < kChains; ++c) *value += 1e-9f * static_cast<float>(sum_of(sums[c]));
  return rounds * kChains * 64 * 2;
}

}  // namespace

void add_int8(Kernels& kernels) {
  kernels.quantize_row = quantize_row;
  kernels.int8_matmul = int8_matmul;
  kernels.dequantize = dequantize;
  kernels.dequantize_bf16 = dequantize_bf16;
  kernels.int8_multiply_add = kernels.int4_multiply_add = int8_multiply_add;
}

}  // namespace candor::engine::avx512

#endif
