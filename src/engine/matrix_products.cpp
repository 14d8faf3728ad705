#include "engine/matrix_products.h"

#include <algorithm>
#include <vector>

#include "engine/kernels/parallel.h"

namespace candor::engine {

void for_rows(ThreadPool& pool, int64_t rows, const std::function<void(int64_t row)>& row) {
  const int64_t chunks = std::min<int64_t>(rows, 12 * pool.threads());
  pool.run(chunks, [&](int64_t chunk, int) {
    for (int64_t i = rows * chunk / chunks; i < rows * (chunk + 1) / chunks; ++i) row(i);
  });
}

namespace {

// y = x·Wᵀ, of which a product of either kind is made.
template <typename Product, typename Number>
Product base_product(const PackedMatrix& w, const Number* weight, const Number* x, int64_t rows, float* y) {
  Product product;
  product.a = x;
  product.a_row = padded(w.in);
  product.b = weight;
  product.b_panel = w.panel_size();
  product.c = y;
  product.c_row = padded(w.out);
  product.rows = rows;
  product.panels = w.panels();
  product.depth = padded(w.in);
  return product;
}

// dx = dy·W of either kind.
template <typename Number>
TransposedProduct<Number> input_gradient(const PackedMatrix& w, const Number* weight, const Number* dy, int64_t rows,
                                         float* dx) {
  return {.dy = dy,
          .dy_row = padded(w.out),
          .weight = weight,
          .rows = rows,
          .out = w.out,
          .in = padded(w.in),
          .dx = dx,
          .dx_row = padded(w.in)};
}

}  // namespace

void matrices_forward(const Context& context, std::span<const ForwardProduct> products, const float* x, int64_t rows,
                      const RoundedScratch& scratch, std::span<const Matmul> beside) {
  std::vector<Matmul> floats(beside.begin(), beside.end());
  std::vector<Bf16Matmul> bf16;
  const PackedMatrix& any = *products.front().weight;
  if (any.dtype() == Dtype::kBfloat16)
    round_rows(context.pool, context.kernels, x, rows * padded(any.in), scratch.bf16);
  for (const ForwardProduct& product : products) {
    const PackedMatrix& w = *product.weight;
    if (w.dtype() == Dtype::kFloat32)
      floats.push_back(base_product<Matmul>(w, w.data.data(), x, rows, product.y));
    else
      bf16.push_back(base_product<Bf16Matmul>(w, w.pairs.data(), scratch.bf16, rows, product.y));
  }
  run_matmuls(context.pool, context.kernels, floats, bf16);
}

void matrices_input_gradient(const Context& context, std::span<const InputGradient> gradients, int64_t rows, float* dx,
                             const RoundedScratch& scratch) {
  std::vector<TransposedMatmul> floats;
  std::vector<Bf16TransposedMatmul> bf16;
  uint16_t* rounded = scratch.bf16;
  for (const InputGradient& gradient : gradients) {
    const PackedMatrix& w = *gradient.weight;
    if (w.dtype() == Dtype::kFloat32) {
      floats.push_back(input_gradient(w, w.data.data(), gradient.dy, rows, dx));
      continue;
    }
    round_rows(context.pool, context.kernels, gradient.dy, rows * padded(w.out), rounded);
    bf16.push_back(input_gradient<uint16_t>(w, w.pairs.data(), rounded, rows, dx));
    rounded += rows * padded(w.out);
  }
  run_transposed_matmuls(context.pool, context.kernels, floats);
  run_transposed_matmuls(context.pool, context.kernels, bf16);
}

}  // namespace candor::engine
