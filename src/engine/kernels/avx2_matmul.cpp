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
constexpr int64_t kAhead = 32;         // steps of k that a product of few rows reads ahead
constexpr int64_t kPackingPanels = 3;  // from how many panels on copying A pays

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
  // What comes next, fetched meanwhile: a line of B every `fetch_every` steps of k, and the first line of C's rows.
  const float* next_b;
  int64_t next_b_k, fetch_every;
  const float* next_c;
};

void fetch(const float* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}

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
  for (int i = 0; i < R; ++i) fetch(t.next_c + i * t.c_row);
  const float* a = t.a;
  const float* b = t.b;
  const float* next_b = t.next_b;
  const int64_t a_step = t.a_step, b_k = t.b_k, b_panel = t.b_panel;
  for (int64_t rest = t.depth; rest > 0; rest -= t.fetch_every) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) fetch(next_b + p * b_panel);
    next_b += t.next_b_k;
    const int64_t steps = smaller(rest, t.fetch_every);
    for (int64_t k = 0; k < steps; ++k) {
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
  for (int64_t p = 0; p < m.panels;) {
    const float* b = m.b + p * m.b_panel;
    float* c = m.c + p * kPanel;
    // Memory is read in P streams, each `kAhead` steps ahead: at the panels' end that is where the next ones begin.
    const bool whole = p + P <= m.panels;
    const auto tile = whole ? run_tile<R, P, false> : run_tile<R, 1, false>;
    const int64_t before = m.depth - smaller(m.depth, kAhead);
    Tile t{m.a, m.a_row, b, m.b_k, m.b_panel, c, m.c_row, before, m.accumulate, b + kAhead * m.b_k, m.b_k, 1, c};
    if (before > 0) tile(t);
    t.a += before;
    t.b += before * m.b_k;
    t.depth = m.depth - before;
    t.accumulate = m.accumulate || before > 0;
    p += whole ? P : 1;
    t.next_b = m.b + p * m.b_panel;
    tile(t);
  }
}

// Copies A[rows, depth] so that each tile's factors stand together: tile after tile, [k][rows of the tile].
void pack_a(const float* a, int64_t a_row, int64_t a_k, int64_t rows, int64_t depth, float* packed) {
  for (int64_t k = 0; k < depth; ++k, a += a_k) {
    float* to = packed;
    for (int64_t i = 0; i < rows;) {
      const int64_t tile = next_tile(rows - i);
      if (a_row == 1 && tile == kTileRows) {
        _mm_storeu_ps(to + k * kTileRows, _mm_loadu_ps(a + i));
        _mm_storel_pi(reinterpret_cast<__m64*>(to + k * kTileRows + 4),
                      _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(a + i + 4))));
      } else {
        for (int64_t r = 0; r < tile; ++r) to[k * tile + r] = a[(i + r) * a_row];
      }
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

// One block of rows and depth against every panel. kTransposed with tile_stride 0: A lies in m.a as it is, otherwise it
// is packed in `a`.
struct Block {
  const float* a;
  int64_t i0, rows, k0, depth;
  bool a_packed, b_packed;
};

template <bool kTransposed>
void run_block(const Matmul& m, const Block& block, float* b_scratch) {
  const int64_t tiles = (block.rows + kTileRows - 1) / kTileRows;
  for (int64_t p = 0; p < m.panels; ++p) {
    const float* b = m.b + p * m.b_panel + block.k0 * m.b_k;
    float* c = m.c + block.i0 * m.c_row + p * kPanel;
    Tile t{.a = block.a,
           .a_step = kTransposed ? m.a_k : m.a_row,
           .b = b,
           .b_k = m.b_k,
           .b_panel = 0,
           .c = c,
           .c_row = m.c_row,
           .depth = block.depth,
           .accumulate = m.accumulate || block.k0 > 0,
           .next_b = b + (p + 1 < m.panels ? m.b_panel : 0),
           .next_b_k = m.b_k,
           .fetch_every = tiles,
           .next_c = nullptr};
    if (block.b_packed) {
      pack_panel(b, m.b_k, block.depth, b_scratch);
      t.b = b_scratch;
      t.b_k = kPanel;
    }
    for (int64_t i = 0; i < block.rows;) {
      const int64_t tile = next_tile(block.rows - i);
      if (block.a_packed) t.a_step = tile;
      t.next_c = i + tile < block.rows ? t.c + tile * m.c_row : c + kPanel;
      run_rows<kTransposed>(tile, t);
      t.a += block.a_packed ? tile * block.depth : kTransposed ? tile : tile * m.a_row;
      t.c += tile * m.c_row;
      t.next_b += (block.depth + tiles - 1) / tiles * m.b_k;
      i += tile;
    }
  }
}

// Calls block(i0, rows, k0, depth) for blocks that cover [0, m.rows) × [0, m.depth), each row's depth in order.
template <typename Run>
void each_block(const Matmul& m, Run run) {
  for (int64_t i0 = 0, rows = 0; i0 < m.rows; i0 += rows) {
    rows = next_block(m.rows - i0, kRowBlock, kTileRows);
    for (int64_t k0 = 0, depth = 0; k0 < m.depth; k0 += depth) {
      depth = next_block(m.depth - k0, kDepthBlock, 1);
      run(i0, rows, k0, depth);
    }
  }
}

void row_major(const Matmul& m) {
  each_block(m, [&](int64_t i0, int64_t rows, int64_t k0, int64_t depth) {
    run_block<false>(m, {m.a + i0 * m.a_row + k0, i0, rows, k0, depth, false, false}, nullptr);
  });
}

// A transposed: weight gradients, where k runs over tokens and rows of both operands lie far apart. What several tiles
// read again is first copied into contiguous blocks.
void transposed(const Matmul& m) {
  alignas(64) float a_scratch[kRowBlock * kDepthBlock];
  alignas(64) float b_scratch[kDepthBlock * kPanel];
  const bool pack = m.panels >= kPackingPanels || m.a_row != 1;
  each_block(m, [&](int64_t i0, int64_t rows, int64_t k0, int64_t depth) {
    const float* a = m.a + i0 * m.a_row + k0 * m.a_k;
    if (pack) pack_a(a, m.a_row, m.a_k, rows, depth, a_scratch);
    run_block<true>(m, {pack ? a_scratch : a, i0, rows, k0, depth, pack, true}, b_scratch);
  });
}

}  // namespace

void matmul(const Matmul& m) {
  if (m.depth == 0) {
    for (int64_t i = 0; i < m.rows && !m.accumulate; ++i)
      for (int64_t j = 0; j < m.panels * kPanel; ++j) m.c[i * m.c_row + j] = 0;
    return;
  }
  if (m.a_k != 1) return transposed(m);
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
