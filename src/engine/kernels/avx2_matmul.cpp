// The matrix product for AVX2 and FMA. A tile of up to 6 rows × 16 columns lives in 12 registers; each output is one
// chain of multiply-adds in k order. Blocks over k store C and load it again, which keeps the chain; blocks over rows
// and panels choose only what shares a load. So no choice below can change a bit.
#include "engine/kernels/avx2_matmul.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>

namespace candor::engine::avx2 {

namespace {

// A panel's block (320·16 floats, 20 KB) stays in the first-level cache beside six rows of A; a block of rows of A
// (192·320 floats, 240 KB) in the second.
constexpr int64_t kDepthBlock = 320;
constexpr int64_t kRowBlock = 192;
constexpr int64_t kTileRows = 6;

int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

// Blocks of nearly equal size: the next one, when `rest` is left and a block holds `most`, in multiples of `step`.
int64_t next_block(int64_t rest, int64_t most, int64_t step) {
  const int64_t blocks = (rest + most - 1) / most;
  return smaller(rest, ((rest + blocks - 1) / blocks + step - 1) / step * step);
}

struct Tile {
  const float* a;
  int64_t a_step;  // row-major A: between rows; A transposed: between k
  const float* b;
  int64_t b_k, b_panel;
  float* c;
  int64_t c_row;
  int64_t depth;
  bool accumulate;
};

// R rows × P panels. kTransposed: A[i, k] = a[i + k·a_step], otherwise a[i·a_step + k].
template <int R, int P, bool kTransposed>
void run_tile(const Tile& t) {
  __m256 sum[R][2 * P];
  if (t.accumulate) {
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
#pragma GCC unroll 16
      for (int j = 0; j < 2 * P; ++j) sum[i][j] = _mm256_loadu_ps(t.c + i * t.c_row + j * 8);
    }
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
#pragma GCC unroll 16
      for (int j = 0; j < 2 * P; ++j) sum[i][j] = _mm256_setzero_ps();
    }
  }
  const float* a = t.a;
  const float* b = t.b;
  const int64_t a_step = t.a_step, b_k = t.b_k, b_panel = t.b_panel;
  for (int64_t k = 0; k < t.depth; ++k) {
    __m256 column[2 * P];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) {
      column[2 * p] = _mm256_loadu_ps(b + p * b_panel);
      column[2 * p + 1] = _mm256_loadu_ps(b + p * b_panel + 8);
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const __m256 factor = _mm256_broadcast_ss(kTransposed ? a + i : a + i * a_step);
#pragma GCC unroll 16
      for (int j = 0; j < 2 * P; ++j) sum[i][j] = _mm256_fmadd_ps(factor, column[j], sum[i][j]);
    }
    a += kTransposed ? a_step : 1;
    b += b_k;
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < 2 * P; ++j) _mm256_storeu_ps(t.c + i * t.c_row + j * 8, sum[i][j]);
  }
}

template <bool kTransposed>
void run_rows(int64_t rows, const Tile& t) {
  switch (rows) {
    case 1:
      return run_tile<1, 1, kTransposed>(t);
    case 2:
      return run_tile<2, 1, kTransposed>(t);
    case 3:
      return run_tile<3, 1, kTransposed>(t);
    case 4:
      return run_tile<4, 1, kTransposed>(t);
    case 5:
      return run_tile<5, 1, kTransposed>(t);
    default:
      return run_tile<6, 1, kTransposed>(t);
  }
}

// How many of the `rest` rows the next tile takes: 7 as 4 + 3 and 8 as 4 + 4, since a tile of one or two rows has too
// few chains to keep the units busy.
int64_t next_tile(int64_t rest) {
  return rest == 7 || rest == 8 ? 4 : smaller(rest, kTileRows);
}

// One to three rows against several panels at a time: as many chains as a full tile, and each weight is read once.
template <int R, int P>
void few_rows(const Matmul& m) {
  Tile t{m.a, m.a_row, m.b, m.b_k, m.b_panel, m.c, m.c_row, m.depth, m.accumulate};
  for (int64_t p = 0; p < m.panels;) {
    t.b = m.b + p * m.b_panel;
    t.c = m.c + p * kPanel;
    if (p + P <= m.panels) {
      run_tile<R, P, false>(t);
      p += P;
    } else {
      run_tile<R, 1, false>(t);
      ++p;
    }
  }
}

// Copies A[rows, depth] so that each tile's factors stand together: tile after tile, [k][rows of the tile].
void pack_a(const float* a, int64_t a_row, int64_t a_k, int64_t rows, int64_t depth, float* packed) {
  for (int64_t k = 0; k < depth; ++k) {
    const float* from = a + k * a_k;
    float* to = packed;
    for (int64_t i = 0; i < rows;) {
      const int64_t tile = next_tile(rows - i);
      for (int64_t r = 0; r < tile; ++r) to[k * tile + r] = from[(i + r) * a_row];
      to += tile * depth;
      i += tile;
    }
  }
}

void pack_panel(const float* b, int64_t b_k, int64_t depth, float* packed) {
  for (int64_t k = 0; k < depth; ++k) {
    _mm256_storeu_ps(packed + k * kPanel, _mm256_loadu_ps(b + k * b_k));
    _mm256_storeu_ps(packed + k * kPanel + 8, _mm256_loadu_ps(b + k * b_k + 8));
  }
}

// Row-major A (a_k = 1).
void row_major(const Matmul& m) {
  for (int64_t i0 = 0, rows = 0; i0 < m.rows; i0 += rows) {
    rows = next_block(m.rows - i0, kRowBlock, kTileRows);
    for (int64_t k0 = 0, depth = 0; k0 < m.depth; k0 += depth) {
      depth = next_block(m.depth - k0, kDepthBlock, 1);
      for (int64_t p = 0; p < m.panels; ++p) {
        Tile t{nullptr, m.a_row, m.b + p * m.b_panel + k0 * m.b_k,
               m.b_k,   0,       nullptr,
               m.c_row, depth,   m.accumulate || k0 > 0};
        for (int64_t i = i0; i < i0 + rows;) {
          const int64_t tile = next_tile(i0 + rows - i);
          t.a = m.a + i * m.a_row + k0;
          t.c = m.c + i * m.c_row + p * kPanel;
          run_rows<false>(tile, t);
          i += tile;
        }
      }
    }
  }
}

// Any other A, and in practice A transposed: weight gradients, where k runs over tokens. Rows of both operands lie far
// apart, so both are copied into contiguous blocks first.
void repacked(const Matmul& m) {
  alignas(64) float a_block[kRowBlock * kDepthBlock];
  alignas(64) float b_block[kDepthBlock * kPanel];
  for (int64_t i0 = 0, rows = 0; i0 < m.rows; i0 += rows) {
    rows = next_block(m.rows - i0, kRowBlock, kTileRows);
    for (int64_t k0 = 0, depth = 0; k0 < m.depth; k0 += depth) {
      depth = next_block(m.depth - k0, kDepthBlock, 1);
      pack_a(m.a + i0 * m.a_row + k0 * m.a_k, m.a_row, m.a_k, rows, depth, a_block);
      for (int64_t p = 0; p < m.panels; ++p) {
        pack_panel(m.b + p * m.b_panel + k0 * m.b_k, m.b_k, depth, b_block);
        Tile t{a_block, 0, b_block, kPanel, 0, nullptr, m.c_row, depth, m.accumulate || k0 > 0};
        for (int64_t i = i0; i < i0 + rows;) {
          const int64_t tile = next_tile(i0 + rows - i);
          t.a_step = tile;
          t.c = m.c + i * m.c_row + p * kPanel;
          run_rows<true>(tile, t);
          t.a += tile * depth;
          i += tile;
        }
      }
    }
  }
}

}  // namespace

void matmul(const Matmul& m) {
  if (m.depth == 0) {
    for (int64_t i = 0; i < m.rows && !m.accumulate; ++i)
      for (int64_t j = 0; j < m.panels * kPanel; ++j) m.c[i * m.c_row + j] = 0;
    return;
  }
  if (m.a_k != 1) return repacked(m);
  switch (m.rows) {
    case 1:
      return few_rows<1, 4>(m);
    case 2:
      return few_rows<2, 3>(m);
    case 3:
      return few_rows<3, 2>(m);
    default:
      return row_major(m);
  }
}

}  // namespace candor::engine::avx2

#endif
