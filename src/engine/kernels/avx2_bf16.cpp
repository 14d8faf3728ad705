// bfloat16 for AVX2 and FMA: the operands are widened to float32 (a shift) and multiplied as such, of
// each pair the odd k first. Rows of A are widened once for all panels,
// weights in registers as they come, so that memory is read at two bytes a weight.
#include "engine/kernels/avx2_matmul.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>

namespace candor::engine::avx2 {

namespace {

// As in avx2_matmul.cpp: widened rows of A stay in the second-level cache while the panels pass, a panel's block in the
// first. A product of few rows takes the whole depth at once and reads ahead.
constexpr int64_t kDepthBlock = 320;
constexpr int64_t kRowBlock = 192;
constexpr int64_t kTileRows = 6;
constexpr int64_t kFewRows = 3;
constexpr int64_t kAhead = 32;          // pairs of k
constexpr int64_t kPairs = 2 * kPanel;  // a panel's numbers for one pair of k

int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

// Blocks of nearly equal size: the next one, when `rest` is left and a block holds `most`, in multiples of `step`.
int64_t next_block(int64_t rest, int64_t most, int64_t step) {
  const int64_t blocks = (rest + most - 1) / most;
  return smaller(rest, ((rest + blocks - 1) / blocks + step - 1) / step * step);
}

struct Tile {
  const float* a;  // widened
  int64_t a_row;
  const uint16_t* b;
  int64_t b_panel;
  float* c;
  int64_t c_row;
  int64_t depth;
  bool accumulate;
};

__m256i load_pairs(const uint16_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// R rows × P panels.
template <int R, int P>
void run_tile(const Tile& t) {
  __m256 sum[R][2 * P];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < 2 * P; ++j)
      sum[i][j] = t.accumulate ? _mm256_loadu_ps(t.c + i * t.c_row + j * 8) : _mm256_setzero_ps();
  }
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  const float* a = t.a;
  const uint16_t* b = t.b;
  for (int64_t k = 0; k < t.depth; k += 2) {
    __m256 column[2 * P];
#pragma GCC unroll 16
    for (int j = 0; j < 2 * P; ++j)
      column[j] = _mm256_castsi256_ps(_mm256_and_si256(load_pairs(b + j / 2 * t.b_panel + j % 2 * 16), upper));
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
      _mm_prefetch(reinterpret_cast<const char*>(b + p * t.b_panel + kAhead * kPairs), _MM_HINT_T1);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const __m256 factor = _mm256_broadcast_ss(a + i * t.a_row + 1);
#pragma GCC unroll 16
      for (int j = 0; j < 2 * P; ++j) sum[i][j] = _mm256_fmadd_ps(factor, column[j], sum[i][j]);
    }
#pragma GCC unroll 16
    for (int j = 0; j < 2 * P; ++j)
      column[j] = _mm256_castsi256_ps(_mm256_slli_epi32(load_pairs(b + j / 2 * t.b_panel + j % 2 * 16), 16));
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const __m256 factor = _mm256_broadcast_ss(a + i * t.a_row);
#pragma GCC unroll 16
      for (int j = 0; j < 2 * P; ++j) sum[i][j] = _mm256_fmadd_ps(factor, column[j], sum[i][j]);
    }
    a += 2;
    b += kPairs;
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < 2 * P; ++j) _mm256_storeu_ps(t.c + i * t.c_row + j * 8, sum[i][j]);
  }
}

void run_rows(int64_t rows, const Tile& t) {
  switch (rows) {
    case 1:
      return run_tile<1, 1>(t);
    case 2:
      return run_tile<2, 1>(t);
    case 3:
      return run_tile<3, 1>(t);
    case 4:
      return run_tile<4, 1>(t);
    case 5:
      return run_tile<5, 1>(t);
    default:
      return run_tile<6, 1>(t);
  }
}

// 7 rows as 4 + 3 and 8 as 4 + 4: a tile of one or two rows has too few chains to keep the units busy.
int64_t next_tile(int64_t rest) {
  return rest == 7 || rest == 8 ? 4 : smaller(rest, kTileRows);
}

// All rows of a block against every panel; `tile` is of the first row and panel.
void many_rows(int64_t rows, int64_t panels, Tile tile) {
  for (int64_t p = 0; p < panels; ++p, tile.b += tile.b_panel, tile.c += kPanel) {
    Tile t = tile;
    for (int64_t i = 0; i < rows;) {
      const int64_t count = next_tile(rows - i);
      run_rows(count, t);
      t.a += count * t.a_row;
      t.c += count * t.c_row;
      i += count;
    }
  }
}

// One to three rows against P panels at a time: as many chains as a full tile, and each weight is read once.
template <int R, int P>
void few_rows(int64_t panels, Tile t) {
  for (; panels >= P; panels -= P, t.b += P * t.b_panel, t.c += P * kPanel) run_tile<R, P>(t);
  for (; panels > 0; --panels, t.b += t.b_panel, t.c += kPanel) run_tile<R, 1>(t);
}

__m256i round8(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x), upper = _mm256_srli_epi32(bits, 16);
  const __m256i half = _mm256_add_epi32(_mm256_and_si256(upper, _mm256_set1_epi32(1)), _mm256_set1_epi32(0x7fff));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(rounded, _mm256_or_si256(upper, _mm256_set1_epi32(0x40)), nan);
}

void round16(const float* x, uint16_t* y) {
  const __m256i packed = _mm256_packus_epi32(round8(_mm256_loadu_ps(x)), round8(_mm256_loadu_ps(x + 8)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), _mm256_permute4x64_epi64(packed, 0xD8));
}

void widen8(const uint16_t* x, float* y) {
  const __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
  _mm256_storeu_ps(y, _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16)));
}

}  // namespace

void bf16_matmul(const Bf16Matmul& m) {
  if (m.depth == 0) {
    for (int64_t i = 0; i < m.rows && !m.accumulate; ++i)
      for (int64_t j = 0; j < m.panels * kPanel; ++j) m.c[i * m.c_row + j] = 0;
    return;
  }
  alignas(64) float a[kRowBlock * kDepthBlock];
  const bool few = m.rows <= kFewRows;
  const int64_t deepest = few ? kRowBlock * kDepthBlock / kFewRows : kDepthBlock;
  for (int64_t i0 = 0, rows = 0; i0 < m.rows; i0 += rows) {
    rows = next_block(m.rows - i0, kRowBlock, kTileRows);
    for (int64_t k0 = 0, depth = 0; k0 < m.depth; k0 += depth) {
      depth = next_block(m.depth - k0, deepest, 2);
      for (int64_t i = 0; i < rows; ++i) widen_bf16(m.a + (i0 + i) * m.a_row + k0, depth, a + i * depth);
      const Tile t{.a = a,
                   .a_row = depth,
                   .b = m.b + k0 * kPanel,
                   .b_panel = m.b_panel,
                   .c = m.c + i0 * m.c_row,
                   .c_row = m.c_row,
                   .depth = depth,
                   .accumulate = m.accumulate || k0 > 0};
      switch (few ? rows : 0) {
        case 1:
          few_rows<1, 4>(m.panels, t);
          break;
        case 2:
          few_rows<2, 3>(m.panels, t);
          break;
        case 3:
          few_rows<3, 2>(m.panels, t);
          break;
        default:
          many_rows(rows, m.panels, t);
      }
    }
  }
}

// A pair of inputs of two outputs is one 64-bit number: 8×8 of these change places, in 4×4 blocks, and in each the
// middle two of its four numbers.
void bf16_transpose_block(const uint16_t* in, uint16_t* out) {
  for (int64_t k = 0; k < 8; k += 4) {
    for (int64_t j = 0; j < 8; j += 4) {
      __m256i row[4], pair[4];
      for (int i = 0; i < 4; ++i) {
        const __m256i x = load_pairs(in + (k + i) * kPairs + 4 * j);
        row[i] = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(x, 0xD8), 0xD8);
      }
      for (int i = 0; i < 2; ++i) {
        pair[2 * i] = _mm256_unpacklo_epi64(row[2 * i], row[2 * i + 1]);
        pair[2 * i + 1] = _mm256_unpackhi_epi64(row[2 * i], row[2 * i + 1]);
      }
      for (int i = 0; i < 2; ++i) {
        uint16_t* to = out + (j + i) * kPairs + 4 * k;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute2x128_si256(pair[i], pair[2 + i], 0x20));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 2 * kPairs),
                            _mm256_permute2x128_si256(pair[i], pair[2 + i], 0x31));
      }
    }
  }
}

void round_bf16(const float* x, int64_t n, uint16_t* y) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) round16(x + i, y + i);
  if (i == n) return;
  float last[16] = {};
  uint16_t rounded[16];
  for (int64_t j = i; j < n; ++j) last[j - i] = x[j];
  round16(last, rounded);
  for (int64_t j = i; j < n; ++j) y[j] = rounded[j - i];
}

void widen_bf16(const uint16_t* x, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) widen8(x + i, y + i);
  if (i == n) return;
  uint16_t last[8] = {};
  float widened[8];
  for (int64_t j = i; j < n; ++j) last[j - i] = x[j];
  widen8(last, widened);
  for (int64_t j = i; j < n; ++j) y[j] = widened[j - i];
}

}  // namespace candor::engine::avx2

#endif
