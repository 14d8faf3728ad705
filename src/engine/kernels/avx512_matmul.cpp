// The matrix product for AVX-512: a panel of 16 columns is one register, a tile of up to 8 rows × 3 panels lives in 24
// of them. Each output is one chain of multiply-adds in k order. Blocks over k store C and load it again, which keeps
// the chain; blocks over rows and panels choose only what shares a load. So no choice below can change a bit.
#include "engine/kernels/avx512_matmul.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)

#include <immintrin.h>

namespace candor::engine::avx512 {

namespace {

constexpr int64_t kTileRows = 8;
constexpr int64_t kTilePanels = 3;
constexpr int64_t kNarrowRows = 16;  // of a tile one panel wide, where A is transposed: a whole line of it
// Of A, beside which three panels' block (96 KB, or 48) streams from the second-level cache.
constexpr int64_t kRowBlock = 192, kDepthBlock = 512;
constexpr int64_t kPackedRows = 384, kPackedDepth = 256;
constexpr int64_t kNarrowDepth = 64;  // tokens whose lines, far apart, wait in the cache for the next panel
constexpr int64_t kAhead = 32;        // steps of k that a product of few rows reads ahead

int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

// The next of several blocks of nearly equal size, when `rest` is left and a block holds `most`, in multiples of
// `step`.
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
  // What comes next, fetched meanwhile: C's rows, and a line of each panel `fetch_steps` times every `fetch_every`
  // steps of k, the lines `next_k` apart.
  const float* next;
  int64_t next_k, next_panel;
  int64_t fetch_every, fetch_steps;
  const float* next_c;
};

void fetch(const float* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}

enum class A { kRowMajor, kTransposed };        // A[i, k] = a[i·a_step + k], or a[i + k·a_step]
enum class Fetch { kEveryStep, kEverySoMany };  // the latter: Tile::fetch_every

// R rows × P panels.
template <int R, int P, A kA, Fetch kFetch>
void run_tile(const Tile& t) {
  __m512 sum[R][P];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
      sum[i][p] = t.accumulate ? _mm512_loadu_ps(t.c + i * t.c_row + p * kPanel) : _mm512_setzero_ps();
  }
  for (int i = 0; i < R; ++i) {
    for (int p = 0; p < P; ++p) fetch(t.next_c + i * t.c_row + p * kPanel);
  }
  const float* a = t.a;
  const float* b = t.b;
  const float* next = t.next;
  const int64_t a_step = t.a_step, b_k = t.b_k, b_panel = t.b_panel, next_k = t.next_k, next_panel = t.next_panel;
  auto fetch_next = [&]() __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) fetch(next + p * next_panel);
    next += next_k;
  };
  auto step = [&]() __attribute__((always_inline)) {
    __m512 column[P];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) column[p] = _mm512_loadu_ps(b + p * b_panel);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const __m512 factor = _mm512_set1_ps(kA == A::kTransposed ? a[i] : a[i * a_step]);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) sum[i][p] = _mm512_fmadd_ps(factor, column[p], sum[i][p]);
    }
    a += kA == A::kTransposed ? a_step : 1;
    b += b_k;
  };
  if constexpr (kFetch == Fetch::kEveryStep) {
    for (int64_t k = 0; k < t.depth; ++k) {
      fetch_next();
      step();
    }
  } else {
    for (int64_t rest = t.depth; rest > 0; rest -= t.fetch_every) {
      for (int64_t i = 0; i < t.fetch_steps; ++i) fetch_next();
      for (int64_t k = smaller(rest, t.fetch_every); k > 0; --k) step();
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) _mm512_storeu_ps(t.c + i * t.c_row + p * kPanel, sum[i][p]);
  }
}

using RunTile = void (*)(const Tile&);

// The tiles of 1 to 8 rows × P panels.
template <int P, A kA, Fetch kFetch>
constexpr RunTile kTiles[] = {
    run_tile<1, P, kA, kFetch>, run_tile<2, P, kA, kFetch>, run_tile<3, P, kA, kFetch>, run_tile<4, P, kA, kFetch>,
    run_tile<5, P, kA, kFetch>, run_tile<6, P, kA, kFetch>, run_tile<7, P, kA, kFetch>, run_tile<8, P, kA, kFetch>,
};

template <A kA>
void run(int64_t rows, int64_t panels, const Tile& t) {
  constexpr Fetch kFetch = Fetch::kEverySoMany;
  (panels == 1 ? kTiles<1, kA, kFetch> : panels == 2 ? kTiles<2, kA, kFetch> : kTiles<3, kA, kFetch>)[rows - 1](t);
}

// No more rows than one tile has: every weight is read once, from wherever it lies.
void few_rows(const Matmul& m) {
  constexpr A kA = A::kRowMajor;
  constexpr Fetch kFetch = Fetch::kEveryStep;
  const int64_t most = m.rows <= 3 ? 4 : 2;  // enough chains to keep the units busy
  for (int64_t p = 0, panels = 0; p < m.panels; p += panels) {
    panels = next_block(m.panels - p, most, 1);
    const float* b = m.b + p * m.b_panel;
    float* c = m.c + p * kPanel;
    // Memory is read in as many streams as panels, each `kAhead` steps ahead; at a panel's end that is the next one's
    // beginning only for the last stream, which costs nothing noticeable.
    const Tile t{.a = m.a,
                 .a_step = m.a_row,
                 .b = b,
                 .b_k = m.b_k,
                 .b_panel = m.b_panel,
                 .c = c,
                 .c_row = m.c_row,
                 .depth = m.depth,
                 .accumulate = m.accumulate,
                 .next = b + kAhead * m.b_k,
                 .next_k = m.b_k,
                 .next_panel = m.b_panel,
                 .fetch_every = 1,
                 .fetch_steps = 1,
                 .next_c = c};
    const RunTile* tiles = panels == 1   ? kTiles<1, kA, kFetch>
                           : panels == 2 ? kTiles<2, kA, kFetch>
                           : panels == 3 ? kTiles<3, kA, kFetch>
                                         : kTiles<4, kA, kFetch>;
    tiles[m.rows - 1](t);
  }
}

// Copies A[rows, depth], of which A[i, k] = a[i + k·a_k], so that each tile's factors stand together: tile after tile,
// [k][rows of the tile].
void pack_a(const float* a, int64_t a_k, int64_t rows, int64_t depth, float* packed) {
  constexpr int64_t kSteps = 8;  // what is read and what is written both lie together for a while
  for (int64_t k0 = 0; k0 < depth; k0 += kSteps) {
    const int64_t steps = smaller(kSteps, depth - k0);
    float* to = packed;
    for (int64_t i = 0, tile = 0; i < rows; i += tile, to += tile * depth) {
      tile = next_block(rows - i, kTileRows, 1);
      const __mmask8 mask = static_cast<__mmask8>((1u << tile) - 1);
      for (int64_t k = k0; k < k0 + steps; ++k)
        _mm256_mask_storeu_ps(to + k * tile, mask, _mm256_maskz_loadu_ps(mask, a + i + k * a_k));
    }
  }
}

void pack_panels(const float* b, int64_t b_k, int64_t b_panel, int64_t panels, int64_t depth, float* packed) {
  for (int64_t k = 0; k < depth; ++k)
    for (int64_t p = 0; p < panels; ++p)
      _mm512_store_ps(packed + (k * panels + p) * kPanel, _mm512_loadu_ps(b + k * b_k + p * b_panel));
}

// One block of rows and depth against every panel, with A as it lies in memory or packed.
struct Block {
  const float* a;
  int64_t i0, rows, k0, depth;
};

template <A kA>
void run_block(const Matmul& m, const Block& block, float* b_scratch) {
  const int64_t tiles = (block.rows + kTileRows - 1) / kTileRows;
  const int64_t fetch_every = tiles < 16 ? 16 : tiles;
  for (int64_t p = 0, panels = 0; p < m.panels; p += panels) {
    panels = next_block(m.panels - p, kTilePanels, 1);
    const float* b = m.b + p * m.b_panel + block.k0 * m.b_k;
    float* c = m.c + block.i0 * m.c_row + p * kPanel;
    Tile t{.a = block.a,
           .a_step = m.a_row,
           .b = b,
           .b_k = m.b_k,
           .b_panel = m.b_panel,
           .c = c,
           .c_row = m.c_row,
           .depth = block.depth,
           .accumulate = m.accumulate || block.k0 > 0,
           .next = b + (p + panels < m.panels ? panels * m.b_panel : 0),
           .next_k = m.b_k,
           .next_panel = m.b_panel,
           .fetch_every = fetch_every,
           .fetch_steps = (fetch_every + tiles - 1) / tiles,
           .next_c = nullptr};
    if (b_scratch != nullptr) {
      pack_panels(b, m.b_k, m.b_panel, panels, block.depth, b_scratch);
      t.b = b_scratch;
      t.b_k = panels * kPanel;
      t.b_panel = kPanel;
    }
    for (int64_t i = 0, tile = 0; i < block.rows; i += tile) {
      tile = next_block(block.rows - i, kTileRows, 1);
      if (kA == A::kTransposed) t.a_step = tile;
      t.next_c = i + tile < block.rows ? t.c + tile * m.c_row : c + panels * kPanel;
      run<kA>(tile, panels, t);
      t.a += kA == A::kTransposed ? tile * block.depth : tile * m.a_row;
      t.c += tile * m.c_row;
      t.next += (block.depth + tiles - 1) / tiles * m.b_k;
    }
  }
}

// Calls block(i0, rows, k0, depth) for blocks that cover [0, m.rows) × [0, m.depth), each row's depth in order.
template <typename Run>
void each_block(const Matmul& m, int64_t row_block, int64_t depth_block, Run run) {
  for (int64_t i0 = 0, rows = 0; i0 < m.rows; i0 += rows) {
    rows = next_block(m.rows - i0, row_block, kTileRows);
    for (int64_t k0 = 0, depth = 0; k0 < m.depth; k0 += depth) {
      depth = next_block(m.depth - k0, depth_block, 1);
      run(i0, rows, k0, depth);
    }
  }
}

void row_major(const Matmul& m) {
  each_block(m, kRowBlock, kDepthBlock, [&](int64_t i0, int64_t rows, int64_t k0, int64_t depth) {
    run_block<A::kRowMajor>(m, {m.a + i0 * m.a_row + k0, i0, rows, k0, depth}, nullptr);
  });
}

// A transposed, and one panel or no more than 16 rows: nearly every number of the larger operand is read once, a line
// of it at a time, so it stays where it lies.
void narrow(const Matmul& m) {
  constexpr A kA = A::kTransposed;
  constexpr Fetch kFetch = Fetch::kEveryStep;
  for (int64_t k0 = 0, depth = 0; k0 < m.depth; k0 += depth) {
    depth = next_block(m.depth - k0, kNarrowDepth, 1);
    for (int64_t p = 0; p < m.panels; ++p) {
      for (int64_t i = 0, tile = 0; i < m.rows; i += tile) {
        tile = m.rows - i >= kNarrowRows ? kNarrowRows : next_block(m.rows - i, kTileRows, 1);
        const float* a = m.a + i + k0 * m.a_k;
        const float* b = m.b + p * m.b_panel + k0 * m.b_k;
        float* c = m.c + i * m.c_row + p * kPanel;
        const bool next_is_a = m.rows > kNarrowRows;
        const RunTile run =
            tile == kNarrowRows ? run_tile<kNarrowRows, 1, kA, kFetch> : kTiles<1, kA, kFetch>[tile - 1];
        run({.a = a,
             .a_step = m.a_k,
             .b = b,
             .b_k = m.b_k,
             .b_panel = m.b_panel,
             .c = c,
             .c_row = m.c_row,
             .depth = depth,
             .accumulate = m.accumulate || k0 > 0,
             .next = next_is_a ? a + tile : b + m.b_panel,
             .next_k = next_is_a ? m.a_k : m.b_k,
             .next_panel = 0,
             .fetch_every = 1,
             .fetch_steps = 1,
             .next_c = next_is_a ? c + tile * m.c_row : c + kPanel});
      }
    }
  }
}

// What several tiles read again is first copied into contiguous blocks.
void packed(const Matmul& m) {
  alignas(64) float a_scratch[kPackedRows * kPackedDepth];
  alignas(64) float b_scratch[kPackedDepth * kPanel * kTilePanels];
  each_block(m, kPackedRows, kPackedDepth, [&](int64_t i0, int64_t rows, int64_t k0, int64_t depth) {
    pack_a(m.a + i0 + k0 * m.a_k, m.a_k, rows, depth, a_scratch);
    run_block<A::kTransposed>(m, {a_scratch, i0, rows, k0, depth}, m.b_k == kPanel ? nullptr : b_scratch);
  });
}

}  // namespace

void matmul(const Matmul& m) {
  if (m.depth == 0) {
    for (int64_t i = 0; i < m.rows && !m.accumulate; ++i)
      for (int64_t j = 0; j < m.panels * kPanel; ++j) m.c[i * m.c_row + j] = 0;
    return;
  }
  if (m.rows == 0) return;
  if (m.a_k == 1) return m.rows <= kTileRows ? few_rows(m) : row_major(m);
  m.panels == 1 || m.rows <= kNarrowRows ? narrow(m) : packed(m);
}

}  // namespace candor::engine::avx512

#endif
