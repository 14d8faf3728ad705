#include "engine/weight_gradients.h"

#include <algorithm>
#include <vector>

#include "engine/kernels/parallel.h"
#include "engine/matrix_products.h"
#include "engine/norm.h"

namespace candor::engine {

namespace {

// Calls columns(begin, end) for stretches of [0, width), which the threads share.
template <typename Columns>
void for_columns(ThreadPool& pool, int64_t width, Columns columns) {
  constexpr int64_t kStretch = 64;
  pool.run((width + kStretch - 1) / kStretch,
           [&](int64_t i, int) { columns(i * kStretch, std::min(width, (i + 1) * kStretch)); });
}

}  // namespace

void add_weight_gradients(const Context& context, std::span<const WeightGradient> gradients, int64_t rows) {
  // Tokens at a time: what a panel reads of x and dy lies a row apart, and stays in the first-level cache this far.
  constexpr int64_t kTokens = 128;
  for (int64_t first = 0; first < rows; first += kTokens) {
    std::vector<Matmul> products;
    for (const WeightGradient& g : gradients)
      for (int64_t panel = 0; panel < g.panels; ++panel)
        products.push_back({.a = g.x + first * g.in,
                            .a_row = 1,
                            .a_k = g.in,
                            .b = g.dy + first * g.dy_row + panel * kPanel,
                            .b_k = g.dy_row,
                            .b_panel = kPanel,
                            .c = g.dw + panel * g.in * kPanel,
                            .c_row = kPanel,
                            .rows = g.in,
                            .panels = 1,
                            .depth = std::min(kTokens, rows - first),
                            .accumulate = true});
    run_matmuls(context.pool, context.kernels, products);
  }
}

void add_bias_gradient(const Context& context, const float* dy, int64_t rows, int64_t width, float* db) {
  for_columns(context.pool, width, [&](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t i = begin; i < end; ++i) db[i] += dy[t * width + i];
  });
}

void add_norm_gradient(const Context& context, const NormWeights& norm, const float* x, const float* factor,
                       const float* dy, int64_t rows, int64_t n, float* dw) {
  const int64_t width = padded(n);
  std::vector<float> means(static_cast<size_t>(norm.centres() ? rows : 0));
  for_rows(context.pool, static_cast<int64_t>(means.size()),
           [&](int64_t t) { means[static_cast<size_t>(t)] = row_mean(x + t * width, n); });
  for_columns(context.pool, n, [&](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < rows; ++t) {
      const float mean = means.empty() ? 0.0f : means[static_cast<size_t>(t)];
      for (int64_t i = begin; i < end; ++i) dw[i] += dy[t * width + i] * ((x[t * width + i] - mean) * factor[t]);
    }
  });
}

void add_embedding_gradient(const Context& context, std::span<const int32_t> ids, const float* dx, int64_t width,
                            float* dw) {
  for_columns(context.pool, width, [&](int64_t begin, int64_t end) {
    for (size_t t = 0; t < ids.size(); ++t) {
      float* to = dw + ids[t] / kPanel * width * kPanel + ids[t] % kPanel;
      const float* from = dx + static_cast<int64_t>(t) * width;
      for (int64_t i = begin; i < end; ++i) to[i * kPanel] += from[i];
    }
  });
}

}  // namespace candor::engine
