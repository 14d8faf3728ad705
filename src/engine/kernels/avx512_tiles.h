// The register tiles of both matrix products for AVX-512, float32
// (avx512_matmul.cpp) and bfloat16 (avx512_bf16.cpp): a panel of 16 columns is
// one register, a tile of up to 8 rows × 3 panels lives in 24 of them. Each
// output is one chain in k order. Blocks over k store C and load it again,
// which keeps the chain; blocks over rows and panels choose only what shares a
// load. So no choice below can change a bit.
//
// Multiply::add(factor, column, sum) is one step of every chain. The two
// products differ in nothing else: for bfloat16 a step is a pair of k, and the
// "floats" of A and B are such pairs.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "engine/kernels/kernels.h"

namespace candor::engine::avx512 {

inline constexpr int64_t kTileRows = 8;
inline constexpr int64_t kTilePanels = 3;
inline constexpr int64_t kRowBlock = 192,
                         kDepthBlock = 512;  // of A, beside which three panels' block (96 KB) streams
inline constexpr int64_t kAhead = 32;        // steps of k that a product of few rows reads ahead

inline int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

// The next of several blocks of nearly equal size, when `rest` is left and a
// block holds `most`, in multiples of `step`.
inline int64_t next_block(int64_t rest, int64_t most, int64_t step) {
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
  // What comes next, fetched meanwhile: C's rows, and a line of each panel
  // `fetch_steps` times every `fetch_every` steps of k, the lines `next_k`
  // apart.
  const float* next;
  int64_t next_k, next_panel;
  int64_t fetch_every, fetch_steps;
  const float* next_c;
};

inline void fetch(const float* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}

inline __m512 broadcast(const float* p) {
  float x;
  __builtin_memcpy(&x, p, sizeof(x));  // which may be a pair of bfloat16
  return _mm512_set1_ps(x);
}

enum class A { kRowMajor, kTransposed };        // A[i, k] = a[i·a_step + k], or a[i + k·a_step]
enum class Fetch { kEveryStep, kEverySoMany };  // the latter: Tile::fetch_every

// R rows × P panels.
template <typename Multiply, int R, int P, A kA, Fetch kFetch>
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
      const __m512 factor = broadcast(kA == A::kTransposed ? a + i : a + i * a_step);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) sum[i][p] = Multiply::add(factor, column[p], sum[i][p]);
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
template <typename Multiply, int P, A kA, Fetch kFetch>
constexpr RunTile kTiles[] = {
    run_tile<Multiply, 1, P, kA, kFetch>, run_tile<Multiply, 2, P, kA, kFetch>, run_tile<Multiply, 3, P, kA, kFetch>,
    run_tile<Multiply, 4, P, kA, kFetch>, run_tile<Multiply, 5, P, kA, kFetch>, run_tile<Multiply, 6, P, kA, kFetch>,
    run_tile<Multiply, 7, P, kA, kFetch>, run_tile<Multiply, 8, P, kA, kFetch>,
};

template <typename Multiply, A kA>
void run(int64_t rows, int64_t panels, const Tile& t) {
  constexpr Fetch kFetch = Fetch::kEverySoMany;
  (panels == 1   ? kTiles<Multiply, 1, kA, kFetch>
   : panels == 2 ? kTiles<Multiply, 2, kA, kFetch>
                 : kTiles<Multiply, 3, kA, kFetch>)[rows - 1](t);
}

// No more rows than one tile has: every weight is read once, from wherever it
// lies.
template <typename Multiply>
void few_rows(const Matmul& m) {
  constexpr A kA = A::kRowMajor;
  constexpr Fetch kFetch = Fetch::kEveryStep;
  const int64_t most = m.rows <= 3 ? 4 : 2;  // enough chains to keep the units busy
  for (int64_t p = 0, panels = 0; p < m.panels; p += panels) {
    panels = next_block(m.panels - p, most, 1);
    const float* b = m.b + p * m.b_panel;
    float* c = m.c + p * kPanel;
    // Memory is read in as many streams as panels, each `kAhead` steps ahead:
    // at the panels' end that is where the next ones begin.
    Tile t{.a = m.a,
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
    const RunTile* tiles = panels == 1   ? kTiles<Multiply, 1, kA, kFetch>
                           : panels == 2 ? kTiles<Multiply, 2, kA, kFetch>
                           : panels == 3 ? kTiles<Multiply, 3, kA, kFetch>
                                         : kTiles<Multiply, 4, kA, kFetch>;
    const int64_t before = m.depth - smaller(m.depth, kAhead);
    t.depth = before;
    if (before > 0) tiles[m.rows - 1](t);
    t.a += before;
    t.b += before * m.b_k;
    t.depth = m.depth - before;
    t.accumulate = m.accumulate || before > 0;
    t.next = b + panels * m.b_panel;
    t.next_c = c + panels * kPanel;
    tiles[m.rows - 1](t);
  }
}

inline void pack_panels(const float* b, int64_t b_k, int64_t b_panel, int64_t panels, int64_t depth, float* packed) {
  for (int64_t k = 0; k < depth; ++k)
    for (int64_t p = 0; p < panels; ++p)
      _mm512_store_ps(packed + (k * panels + p) * kPanel, _mm512_loadu_ps(b + k * b_k + p * b_panel));
}

// One block of rows and depth against every panel, with A as it lies in memory
// or packed.
struct Block {
  const float* a;
  int64_t i0, rows, k0, depth;
};

template <typename Multiply, A kA>
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
      run<Multiply, kA>(tile, panels, t);
      t.a += kA == A::kTransposed ? tile * block.depth : tile * m.a_row;
      t.c += tile * m.c_row;
      t.next += (block.depth + tiles - 1) / tiles * m.b_k;
    }
  }
}

// Calls block(i0, rows, k0, depth) for blocks that cover [0, m.rows) × [0,
// m.depth), each row's depth in order.
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

template <typename Multiply>
void row_major(const Matmul& m) {
  each_block(m, kRowBlock, kDepthBlock, [&](int64_t i0, int64_t rows, int64_t k0, int64_t depth) {
    run_block<Multiply, A::kRowMajor>(m, {m.a + i0 * m.a_row + k0, i0, rows, k0, depth}, nullptr);
  });
}

}  // namespace candor::engine::avx512
