// The float32 matrix product for AVX-512: the tiles of avx512_tiles.h, and what
// weight gradients need beside them.
#include "engine/kernels/avx512_matmul.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)

#include "engine/kernels/avx512_tiles.h"

namespace candor::engine::avx512 {

namespace {

constexpr int64_t kNarrowRows = 16;   // of a tile one panel wide: a whole line of A
constexpr int64_t kNarrowDepth = 64;  // tokens whose lines, far apart, wait in the cache for the next panel
constexpr int64_t kPackedRows = 384, kPackedDepth = 256;

struct Single {
  static __m512 add(__m512 factor, __m512 column, __m512 sum) { return _mm512_fmadd_ps(factor, column, sum); }
};

// A transposed, and one panel or no more than 16 rows: nearly every number of
// the larger operand is read once, a line of it at a time, so it stays where it
// lies.
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
        const RunTile run = tile == kNarrowRows ? run_tile<Single, kNarrowRows, 1, kA, kFetch>
                                                : kTiles<Single, 1, kA, kFetch>[tile - 1];
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

// Copies A[rows, depth], of which A[i, k] = a[i + k·a_k], so that each tile's
// factors stand together: tile after tile, [k][rows of the tile].
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

// What several tiles read again is first copied into contiguous blocks.
void packed(const Matmul& m) {
  alignas(64) float a_scratch[kPackedRows * kPackedDepth];
  alignas(64) float b_scratch[kPackedDepth * kPanel * kTilePanels];
  each_block(m, kPackedRows, kPackedDepth, [&](int64_t i0, int64_t rows, int64_t k0, int64_t depth) {
    pack_a(m.a + i0 + k0 * m.a_k, m.a_k, rows, depth, a_scratch);
    run_block<Single, A::kTransposed>(m, {a_scratch, i0, rows, k0, depth}, m.b_k == kPanel ? nullptr : b_scratch);
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
  if (m.a_k == 1) return m.rows <= kTileRows ? few_rows<Single>(m) : row_major<Single>(m);
  m.panels == 1 || m.rows <= kNarrowRows ? narrow(m) : packed(m);
}

}  // namespace candor::engine::avx512

#endif
