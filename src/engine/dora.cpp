#include "engine/dora.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace candor::engine {

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

void adapted_row_norms(const Kernels& kernels, const LoraPair& pair, const float* parameters, const float* squares,
                       float* norms) {
  const PackedMatrix& w = *pair.base;
  const int64_t rank = padded(pair.rank), in = padded(pair.in);
  const float *a = parameters + pair.a_offset, *b = parameters + pair.b_offset;
  std::vector<float> gram(static_cast<size_t>(rank * rank)), weight(static_cast<size_t>(w.panel_size()));
  for (int64_t i = 0; i < pair.rank; ++i)
    for (int64_t j = 0; j <= i; ++j) gram[i * rank + j] = gram[j * rank + i] = kernels.dot(a + i * in, a + j * in, in);
  std::vector<float> u(static_cast<size_t>(rank * kPanel)), b_gram(u.size());
  const auto scale = static_cast<double>(pair.scale);
  for (int64_t panel = 0; panel < w.panels(); ++panel) {
    const float* of_panel = b + panel * kPanel * rank;  // 16 rows of B
    w.copy_panel(kernels, panel, weight.data());
    kernels.matmul({.a = a,
                    .a_row = in,
                    .b = weight.data(),
                    .c = u.data(),
                    .c_row = kPanel,
                    .rows = rank,
                    .panels = 1,
                    .depth = in});
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
      double mixed = 0, added = 0;
      for (int64_t k = 0; k < pair.rank; ++k) {
        const auto of_b = static_cast<double>(of_panel[lane * rank + k]);
        mixed += of_b * static_cast<double>(u[k * kPanel + lane]);
        added += of_b * static_cast<double>(b_gram[lane * rank + k]);
      }
      const int64_t row = panel * kPanel + lane;
      const double square = static_cast<double>(squares[row]) + 2 * scale * mixed + scale * scale * added;
      norms[row] = static_cast<float>(std::sqrt(std::max(square, 0.0)));
    }
  }
}

}  // namespace candor::engine
