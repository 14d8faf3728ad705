#include "engine/kernels/parallel.h"

#include <algorithm>
#include <iterator>
#include <type_traits>

#include "base/check.h"

namespace candor::engine {

namespace {

// Several tasks per thread, so that one that loses its core for a while does not hold up the round; each large enough
// (multiply-adds) that handing it out costs nothing.
constexpr int64_t kTasksPerThread = 6;
constexpr int64_t kLeastWork = 1 << 17;
// Rows of A that stay in the second-level cache while the panels pass, and the fewest that still pay for reading a
// panel.
constexpr int64_t kRowChunk = 192;
constexpr int64_t kLeastRows = 24;
// dx: how much of W is transposed at a time, in outputs and in panels of inputs (96 KB, which stay in the second-level
// cache). Several panels, so that what is read lies together in memory, and whole register tiles.
constexpr int64_t kTransposedDepth = 256, kTransposedPanels = 6;

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Where the share of each of `tasks` tasks ends. Each is smaller than the one before, the last next to nothing, so that
// the threads finish together, whichever was held up.
int64_t share_end(int64_t work, int64_t task, int64_t tasks) {
  const double rest = 1.0 - static_cast<double>(task + 1) / static_cast<double>(tasks);
  return work - static_cast<int64_t>(static_cast<double>(work) * rest * rest);
}

int64_t task_count(const ThreadPool& pool, int64_t work) {
  return std::clamp<int64_t>(work / kLeastWork, 1, kTasksPerThread * pool.threads());
}

// Rows per chunk: all of them, unless they outgrow the cache or the panels alone are too few for the tasks.
int64_t chunk_rows(int64_t rows, int64_t panels, int64_t tasks) {
  const int64_t by_cache = ceil_div(rows, kRowChunk);
  const int64_t by_tasks = std::min(ceil_div(tasks, panels), std::max<int64_t>(rows / kLeastRows, 1));
  const int64_t chunks = std::max(by_cache, panels >= tasks ? 1 : by_tasks);
  constexpr int64_t kTileRows = 6;  // whole register tiles
  return ceil_div(ceil_div(rows, chunks), kTileRows) * kTileRows;
}

// Calls part(first_panel, panels, first_row, rows) for what of one product's (row chunk, panel) pairs, counted chunk by
// chunk, lies in [begin, end).
template <typename Part>
void each_part(int64_t rows, int64_t panels, int64_t chunk, int64_t begin, int64_t end, Part part) {
  for (int64_t pair = begin; pair < end;) {
    const int64_t row = pair / panels * chunk, panel = pair % panels;
    const int64_t count = std::min(panels - panel, end - pair);
    part(panel, count, row, std::min(chunk, rows - row));
    pair += count;
  }
}

// The blocks of W that give `panels` panels of dX for outputs [k0, k0 + depth), each as that product's B.
void transpose(const Kernels& kernels, const TransposedMatmul& p, int64_t panel, int64_t panels, int64_t k0,
               int64_t depth, float (*to)[kTransposedDepth * kPanel]) {
  for (int64_t k = 0; k < depth; k += kPanel) {
    for (int64_t j = 0; j < panels; ++j) {
      const int64_t column = (panel + j) * kPanel;
      const float* block = p.weight + (k0 + k) * p.in + column * kPanel;
      float last[kPanel * kPanel];
      if (p.in - column < kPanel) {  // the weight's panel ends inside the block
        std::fill(std::copy_n(block, (p.in - column) * kPanel, last), std::end(last), 0.0f);
        block = last;
      }
      kernels.transpose_block(block, to[j] + k * kPanel);
    }
  }
}

void transpose(const Kernels& kernels, const Bf16TransposedMatmul& p, int64_t panel, int64_t panels, int64_t k0,
               int64_t depth, uint16_t (*to)[kTransposedDepth * kPanel]) {
  for (int64_t k = 0; k < depth; k += kPanel)
    for (int64_t j = 0; j < panels; ++j)
      kernels.bf16_transpose_block(p.weight + (k0 + k) * p.in + (panel + j) * kPanel * kPanel, to[j] + k * kPanel);
}

void multiply(const Kernels& kernels, const Matmul& m) {
  kernels.matmul(m);
}
void multiply(const Kernels& kernels, const Bf16Matmul& m) {
  kernels.bf16_matmul(m);
}

template <typename Number>
using Product = std::conditional_t<std::is_same_v<Number, float>, Matmul, Bf16Matmul>;

// Columns of `panels` panels of dX, for some of its rows.
template <typename Number>
void add_transposed(const Kernels& kernels, const TransposedProduct<Number>& p, int64_t panel, int64_t panels,
                    int64_t row, int64_t rows, bool accumulate) {
  alignas(64) Number scratch[kTransposedPanels][kTransposedDepth * kPanel];
  for (int64_t k0 = 0, depth = 0; k0 < padded(p.out); k0 += depth) {
    depth = std::min(kTransposedDepth, padded(p.out) - k0);
    transpose(kernels, p, panel, panels, k0, depth, scratch);
    Product<Number> product;
    product.a = p.dy + row * p.dy_row + k0;
    product.a_row = p.dy_row;
    product.b = scratch[0];
    product.b_panel = kTransposedDepth * kPanel;
    product.c = p.dx + row * p.dx_row + panel * kPanel;
    product.c_row = p.dx_row;
    product.rows = rows;
    product.panels = panels;
    product.depth = depth;
    product.accumulate = accumulate || p.accumulate || k0 > 0;
    multiply(kernels, product);
  }
}

template <typename Number>
void run_transposed(ThreadPool& pool, const Kernels& kernels, std::span<const TransposedProduct<Number>> products) {
  if (products.empty()) return;
  const TransposedProduct<Number>& first = products.front();
  const int64_t rows = first.rows, panels = padded(first.in) / kPanel;
  int64_t work = 0;
  for (const auto& p : products) {
    CHECK(p.rows == rows && p.in == first.in && p.dx == first.dx && p.dx_row == first.dx_row);
    work += rows * panels * padded(p.out);
  }
  // A panel's blocks are transposed once per task that meets it: rows are split only where panels are too few.
  const int64_t tasks = std::min(task_count(pool, work), std::max<int64_t>(rows * panels, 1));
  const int64_t splits =
      panels >= tasks ? 1 : std::min(ceil_div(tasks, panels), std::max<int64_t>(rows / kLeastRows, 1));
  const int64_t chunk = ceil_div(rows, splits);
  const int64_t pairs = ceil_div(rows, std::max<int64_t>(chunk, 1)) * panels;
  pool.run(tasks, [&](int64_t task, int) {
    each_part(rows, panels, chunk, share_end(pairs, task - 1, tasks), share_end(pairs, task, tasks),
              [&](int64_t first_panel, int64_t count, int64_t row, int64_t row_count) {
                for (int64_t panel = first_panel; panel < first_panel + count; panel += kTransposedPanels) {
                  const int64_t group = std::min(kTransposedPanels, first_panel + count - panel);
                  for (const auto& p : products) add_transposed(kernels, p, panel, group, row, row_count, &p != &first);
                }
              });
  });
}

template <typename M>
int64_t work_of(const M& m) {
  return m.rows * m.panels * std::max<int64_t>(m.depth, 1);
}

// The part of one product whose work lies in [begin, end) of its own.
template <typename M>
void run_share(const Kernels& kernels, const M& m, int64_t tasks, int64_t begin, int64_t end) {
  const int64_t chunk = chunk_rows(m.rows, m.panels, tasks), size = work_of(m);
  const int64_t pairs = ceil_div(m.rows, chunk) * m.panels;
  each_part(m.rows, m.panels, chunk, ceil_div(begin * pairs, size), ceil_div(end * pairs, size),
            [&](int64_t panel, int64_t panels, int64_t row, int64_t rows) {
              M part = m;
              part.rows = rows, part.panels = panels;
              part.a += row * m.a_row;
              part.b += panel * m.b_panel;
              part.c += row * m.c_row + panel * kPanel;
              multiply(kernels, part);
            });
}

}  // namespace

void run_matmuls(ThreadPool& pool, const Kernels& kernels, std::span<const Matmul> products,
                 std::span<const Bf16Matmul> bf16_products) {
  int64_t work = 0;
  for (const Matmul& m : products) work += work_of(m);
  for (const Bf16Matmul& m : bf16_products) work += work_of(m);
  const int64_t tasks = task_count(pool, work);
  // Task t computes the outputs whose place in the whole, measured in multiply-adds, falls into its share.
  pool.run(tasks, [&](int64_t task, int) {
    const int64_t first = share_end(work, task - 1, tasks), last = share_end(work, task, tasks);
    int64_t start = 0;
    auto take = [&](const auto& m) {
      const int64_t size = work_of(m);
      const int64_t begin = std::max(first - start, int64_t{0}), end = std::min(last - start, size);
      start += size;
      if (begin < end) run_share(kernels, m, tasks, begin, end);
    };
    for (const Matmul& m : products) take(m);
    for (const Bf16Matmul& m : bf16_products) take(m);
  });
}

void run_transposed_matmuls(ThreadPool& pool, const Kernels& kernels, std::span<const TransposedMatmul> products) {
  run_transposed(pool, kernels, products);
}

void run_transposed_matmuls(ThreadPool& pool, const Kernels& kernels, std::span<const Bf16TransposedMatmul> products) {
  run_transposed(pool, kernels, products);
}

void round_rows(ThreadPool& pool, const Kernels& kernels, const float* x, int64_t n, uint16_t* y) {
  constexpr int64_t kChunk = 1 << 15;
  pool.run(ceil_div(n, kChunk), [&](int64_t i, int) {
    kernels.round_bf16(x + i * kChunk, std::min(kChunk, n - i * kChunk), y + i * kChunk);
  });
}

}  // namespace candor::engine
