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
// A product of fewer rows than these takes as long as theirs: it waits for its weights.
constexpr int64_t kStreamingRows = 16;
// Multiply-adds that take as long as rounding 16 numbers.
constexpr int64_t kRoundingWork = 256;

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

template <typename Number>
void transpose_quantized_blocks(const Kernels& kernels, const TransposedProduct<Number>& p, int64_t panel,
                                int64_t panels, int64_t k0, int64_t depth, Number (*to)[kTransposedDepth * kPanel]) {
  for (int64_t k = 0; k < depth; k += kPanel)
    for (int64_t j = 0; j < panels; ++j)
      transpose_quantized(kernels, *p.quantized, (k0 + k) / kPanel, (panel + j) * kPanel, to[j] + k * kPanel);
}

// The blocks of W that give `panels` panels of dX for outputs [k0, k0 + depth), each as that product's B.
void transpose(const Kernels& kernels, const TransposedMatmul& p, int64_t panel, int64_t panels, int64_t k0,
               int64_t depth, float (*to)[kTransposedDepth * kPanel]) {
  if (p.quantized != nullptr) return transpose_quantized_blocks(kernels, p, panel, panels, k0, depth, to);
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
  if (p.quantized != nullptr) return transpose_quantized_blocks(kernels, p, panel, panels, k0, depth, to);
  for (int64_t k = 0; k < depth; k += kPanel)
    for (int64_t j = 0; j < panels; ++j)
      kernels.bf16_transpose_block(p.weight + (k0 + k) * p.in + (panel + j) * kPanel * kPanel, to[j] + k * kPanel);
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
    run_matmul(kernels, product);
  }
}

// Some panels and rows of a product.
template <typename M>
M part_of(M m, int64_t panel, int64_t panels, int64_t row, int64_t rows) {
  m.rows = rows, m.panels = panels;
  m.a += row * m.a_row;
  m.b += panel * m.b_panel;
  m.c += row * m.c_row + panel * kPanel;
  return m;
}
// What followers of the product with this C add to some of its panels and rows.
void follow(const Kernels& kernels, std::span<const Follower> followers, const float* c, int64_t panel, int64_t panels,
            int64_t row, int64_t rows) {
  for (const Follower& follower : followers) {
    const int64_t begin = std::max(row, follower.row), end = std::min(row + rows, follower.row + follower.product.rows);
    if (follower.of == c && begin < end)
      run_matmul(kernels, part_of(follower.product, panel, panels, begin - follower.row, end - begin));
  }
}

template <typename Number>
void run_transposed(ThreadPool& pool, const Kernels& kernels, std::span<const TransposedProduct<Number>> products,
                    std::span<const Follower> followers) {
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
                  follow(kernels, followers, first.dx, panel, group, row, row_count);
                }
              });
  });
}

template <typename M>
int64_t work_of(const M& m) {
  return m.rows == 0 ? 0 : std::max(m.rows, kStreamingRows) * m.panels * std::max<int64_t>(m.depth, 1);
}
template <typename Product>
int64_t work_of(const Dequantized<Product>& m) {
  return work_of(m.product);
}
int64_t work_of(const Rounding& r) {
  return ceil_div(r.n, kPanel) * kRoundingWork;
}
int64_t work_of(const Quantizing& q) {
  return q.rows * ceil_div(q.n, kPanel) * kRoundingWork;
}

template <typename Product>
Dequantized<Product> part_of(Dequantized<Product> m, int64_t panel, int64_t panels, int64_t row, int64_t rows) {
  m.product = part_of(m.product, panel, panels, row, rows);
  m.weights.panels += panel * m.weights.panel_bytes;
  return m;
}

const Matmul& shape_of(const Matmul& m) {
  return m;
}
const Bf16Matmul& shape_of(const Bf16Matmul& m) {
  return m;
}
const Int8Matmul& shape_of(const Int8Matmul& m) {
  return m;
}
template <typename Product>
const Product& shape_of(const Dequantized<Product>& m) {
  return m.product;
}

// What finishes of the product with this C do to some of its panels and rows.
void finish(const Kernels& kernels, std::span<const Finish> finishes, float* c, int64_t c_row, int64_t panel,
            int64_t panels, int64_t row, int64_t rows) {
  const int64_t first = panel * kPanel, count = panels * kPanel;
  for (const Finish& f : finishes) {
    if (f.of != c) continue;
    for (int64_t i = std::max(row, f.row); i < std::min(row + rows, f.row + f.rows); ++i) {
      float* y = c + i * c_row + first;
      if (f.factor != 1.0f) kernels.scale(f.factor, count, y);
      if (f.gain != nullptr) kernels.multiply(f.gain + first, count, y);
      if (f.bias != nullptr) kernels.add(f.bias + first, count, y);
    }
  }
}

// The part of one product whose work lies in [begin, end) of its own.
template <typename M>
void run_share(const Kernels& kernels, const M& m, const Matmuls& all, int64_t tasks, int64_t begin, int64_t end) {
  const int64_t rows = shape_of(m).rows, panels = shape_of(m).panels;
  const int64_t chunk = chunk_rows(rows, panels, tasks), size = work_of(m);
  const int64_t pairs = ceil_div(rows, chunk) * panels;
  each_part(rows, panels, chunk, ceil_div(begin * pairs, size), ceil_div(end * pairs, size),
            [&](int64_t panel, int64_t count, int64_t row, int64_t row_count) {
              run_matmul(kernels, part_of(m, panel, count, row, row_count));
              follow(kernels, all.followers, shape_of(m).c, panel, count, row, row_count);
              finish(kernels, all.finishes, shape_of(m).c, shape_of(m).c_row, panel, count, row, row_count);
            });
}
void run_share(const Kernels& kernels, const Rounding& r, const Matmuls&, int64_t, int64_t begin, int64_t end) {
  const int64_t first = ceil_div(begin, kRoundingWork) * kPanel;
  const int64_t last = std::min(ceil_div(end, kRoundingWork) * kPanel, r.n);
  if (first < last) kernels.round_bf16(r.x + first, last - first, r.y + first);
}
void run_share(const Kernels& kernels, const Quantizing& q, const Matmuls&, int64_t, int64_t begin, int64_t end) {
  const int64_t of_row = work_of(q) / q.rows;
  for (int64_t row = ceil_div(begin, of_row); row < ceil_div(end, of_row); ++row)
    kernels.quantize_row(q.x + row * q.n, q.n, q.y + row * quantized_row_bytes(q.n));
}

void dequantize(const Kernels& kernels, const QuantizedWeights& w, int64_t panel, int64_t k, int64_t count, float* to) {
  kernels.dequantize(w.format, w.depth(), w.panels + panel * w.panel_bytes, k, count, to);
}
void dequantize(const Kernels& kernels, const QuantizedWeights& w, int64_t panel, int64_t k, int64_t count,
                uint16_t* to) {
  kernels.dequantize_bf16(w.format, w.depth(), w.panels + panel * w.panel_bytes, k, count, to);
}

template <typename Number>
void run_dequantized(const Kernels& kernels, const Dequantized<Product<Number>>& m) {
  alignas(64) Number scratch[kTransposedPanels][kTransposedDepth * kPanel];
  for (int64_t p0 = 0, panels = 0; p0 < m.product.panels; p0 += panels) {
    panels = std::min(kTransposedPanels, m.product.panels - p0);
    for (int64_t k0 = 0, depth = 0; k0 < m.product.depth; k0 += depth) {
      depth = std::min(kTransposedDepth, m.product.depth - k0);
      for (int64_t p = 0; p < panels; ++p) dequantize(kernels, m.weights, p0 + p, k0, depth, scratch[p]);
      Product<Number> product = part_of(m.product, p0, panels, 0, m.product.rows);
      product.a += k0;
      product.b = scratch[0];
      product.b_panel = kTransposedDepth * kPanel;
      product.depth = depth;
      product.accumulate = m.product.accumulate || k0 > 0;
      run_matmul(kernels, product);
    }
  }
}

template <typename Number>
void transpose_quantized_block(const Kernels& kernels, const QuantizedWeights& w, int64_t panel, int64_t column,
                               void (*transpose)(const Number* in, Number* out), Number* to) {
  Number block[kPanel * kPanel];
  dequantize(kernels, w, panel, column, kPanel, block);
  transpose(block, to);
  if (w.in - column >= kPanel) return;
  // Each pair of outputs holds its inputs one after the other, or each output does.
  constexpr bool kPairs = std::is_same_v<Number, uint16_t>;
  constexpr int64_t kStep = kPairs ? 2 : 1;
  for (int64_t output = 0; output < kPanel; output += kStep)
    std::fill(to + output * kPanel + (w.in - column) * kStep, to + (output + kStep) * kPanel, Number{0});
}

}  // namespace

void run_matmul(const Kernels& kernels, const Matmul& m) {
  kernels.matmul(m);
}
void run_matmul(const Kernels& kernels, const Bf16Matmul& m) {
  kernels.bf16_matmul(m);
}
void run_matmul(const Kernels& kernels, const Int8Matmul& m) {
  kernels.int8_matmul(m);
}
void run_matmul(const Kernels& kernels, const DequantizedMatmul& m) {
  run_dequantized<float>(kernels, m);
}
void run_matmul(const Kernels& kernels, const DequantizedBf16Matmul& m) {
  run_dequantized<uint16_t>(kernels, m);
}

void run_matmuls(ThreadPool& pool, const Kernels& kernels, const Matmuls& products) {
  auto each = [&](auto act) {
    for (const auto& m : products.float32) act(m);
    for (const auto& m : products.bf16) act(m);
    for (const auto& m : products.int8) act(m);
    for (const auto& m : products.dequantized) act(m);
    for (const auto& m : products.dequantized_bf16) act(m);
    for (const auto& m : products.roundings) act(m);
    for (const auto& m : products.quantizings) act(m);
  };
  int64_t work = 0;
  each([&](const auto& m) { work += work_of(m); });
  if (work == 0) return;
  const int64_t tasks = task_count(pool, work);
  // Task t computes the outputs whose place in the whole, measured in multiply-adds, falls into its share.
  pool.run(tasks, [&](int64_t task, int) {
    const int64_t first = share_end(work, task - 1, tasks), last = share_end(work, task, tasks);
    int64_t start = 0;
    each([&](const auto& m) {
      const int64_t size = work_of(m);
      const int64_t begin = std::max(first - start, int64_t{0}), end = std::min(last - start, size);
      start += size;
      if (begin < end) run_share(kernels, m, products, tasks, begin, end);
    });
  });
}

void run_matmuls(ThreadPool& pool, const Kernels& kernels, std::span<const Matmul> products) {
  Matmuls all;
  all.float32.assign(products.begin(), products.end());
  run_matmuls(pool, kernels, all);
}

void transpose_quantized(const Kernels& kernels, const QuantizedWeights& weights, int64_t panel, int64_t column,
                         float* to) {
  transpose_quantized_block(kernels, weights, panel, column, kernels.transpose_block, to);
}
void transpose_quantized(const Kernels& kernels, const QuantizedWeights& weights, int64_t panel, int64_t column,
                         uint16_t* to) {
  transpose_quantized_block(kernels, weights, panel, column, kernels.bf16_transpose_block, to);
}

void run_transposed_matmuls(ThreadPool& pool, const Kernels& kernels, std::span<const TransposedMatmul> products,
                            std::span<const Follower> followers) {
  run_transposed(pool, kernels, products, followers);
}

void run_transposed_matmuls(ThreadPool& pool, const Kernels& kernels, std::span<const Bf16TransposedMatmul> products,
                            std::span<const Follower> followers) {
  run_transposed(pool, kernels, products, followers);
}

void round_rows(ThreadPool& pool, const Kernels& kernels, const float* x, int64_t n, uint16_t* y) {
  Matmuls round;
  round.roundings.push_back({x, n, y});
  run_matmuls(pool, kernels, round);
}

void quantize_rows(ThreadPool& pool, const Kernels& kernels, const float* x, int64_t rows, int64_t n, uint8_t* y) {
  Matmuls round;
  round.quantizings.push_back({x, rows, n, y});
  run_matmuls(pool, kernels, round);
}

}  // namespace candor::engine
