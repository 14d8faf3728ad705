#include "engine/dora.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace candor::engine {

namespace {

void row_squares(const Context& context, const PackedMatrix& weight, float* squares) {
  context.pool.run(weight.panels(), [&](int64_t panel, int) {
    std::vector<float> rows(static_cast<size_t>(weight.panel_size()));
    weight.copy_panel(context.kernels, panel, rows.data());
    double sums[kPanel] = {};
    for (int64_t k = 0; k < weight.in; ++k)
      for (int64_t lane = 0; lane < kPanel; ++lane) {
        const auto value = static_cast<double>(rows[k * kPanel + lane]);
        sums[lane] += value * value;
      }
    for (int64_t lane = 0; lane < kPanel; ++lane) squares[panel * kPanel + lane] = static_cast<float>(sums[lane]);
  });
}

void column_squares(const Context& context, const PackedMatrix& weight, float* squares) {
  std::vector<double> sums(static_cast<size_t>(weight.in));
  std::vector<float> rows(static_cast<size_t>(weight.panel_size()));
  for (int64_t panel = 0; panel < weight.panels(); ++panel) {
    weight.copy_panel(context.kernels, panel, rows.data());
    for (int64_t k = 0; k < weight.in; ++k)
      for (int64_t lane = 0; lane < kPanel; ++lane) {
        const auto value = static_cast<double>(rows[k * kPanel + lane]);
        sums[k] += value * value;
      }
  }
  std::copy(sums.begin(), sums.end(), squares);
}

// u [padded(rank)][padded(out)] = A·Wᵀ, or of an embedding A·W.
std::vector<float> base_products(const Kernels& kernels, const LoraPair& pair, const float* a) {
  const PackedMatrix& w = *pair.base;
  const int64_t rank = padded(pair.rank), in = padded(pair.in), out = padded(pair.out);
  std::vector<float> u(static_cast<size_t>(rank * out)), weight(static_cast<size_t>(w.panel_size()));
  std::vector<float> block(weight.size());
  for (int64_t panel = 0; panel < w.panels(); ++panel) {
    w.copy_panel(kernels, panel, weight.data());
    Matmul product{.a = a, .a_row = in, .b = weight.data(), .c = u.data() + panel * kPanel, .c_row = out};
    product.rows = rank, product.panels = 1, product.depth = in;
    if (pair.site == Site::kEmbedding) {  // 16 of the vocabulary's rows add to every column
      for (int64_t k = 0; k < out; k += kPanel)
        kernels.transpose_block(weight.data() + k * kPanel, block.data() + k * kPanel);
      product.a = a + panel * kPanel, product.b = block.data(), product.b_panel = kPanel * kPanel, product.c = u.data();
      product.panels = out / kPanel, product.depth = kPanel, product.accumulate = true;
    }
    kernels.matmul(product);
  }
  return u;
}

}  // namespace

void base_squares(const Context& context, const LoraPair& pair, float* squares) {
  if (pair.site == Site::kEmbedding)
    column_squares(context, *pair.base, squares);
  else
    row_squares(context, *pair.base, squares);
}

void adapted_row_norms(const Kernels& kernels, const LoraPair& pair, const float* parameters, const float* squares,
                       float* norms) {
  const int64_t rank = padded(pair.rank), in = padded(pair.in), out = padded(pair.out);
  const float *a = parameters + pair.a_offset, *b = parameters + pair.b_offset;
  std::vector<float> gram(static_cast<size_t>(rank * rank));
  for (int64_t i = 0; i < pair.rank; ++i)
    for (int64_t j = 0; j <= i; ++j) gram[i * rank + j] = gram[j * rank + i] = kernels.dot(a + i * in, a + j * in, in);
  const std::vector<float> u = base_products(kernels, pair, a);
  std::vector<float> b_gram(static_cast<size_t>(rank * kPanel));
  const auto scale = static_cast<double>(pair.scale);
  for (int64_t first = 0; first < out; first += kPanel) {
    const float* of_panel = b + first * rank;  // 16 rows of B
    kernels.matmul({.a = of_panel,
                    .a_row = rank,
                    .b = gram.data(),
                    .b_k = rank,
                    .b_panel = kPanel,
                    .c = b_gram.data(),
                    .c_row = rank,
                    .rows = kPanel,
                    .panels = rank / kPanel,
                    .depth = rank});
    for (int64_t lane = 0; lane < kPanel; ++lane) {
      const int64_t row = first + lane;
      double mixed = 0, added = 0;
      for (int64_t k = 0; k < pair.rank; ++k) {
        const auto of_b = static_cast<double>(of_panel[lane * rank + k]);
        mixed += of_b * static_cast<double>(u[k * out + row]);
        added += of_b * static_cast<double>(b_gram[lane * rank + k]);
      }
      const double square = static_cast<double>(squares[row]) + 2 * scale * mixed + scale * scale * added;
      norms[row] = static_cast<float>(std::sqrt(std::max(square, 0.0)));
    }
  }
}

}  // namespace candor::engine
