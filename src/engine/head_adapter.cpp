#include "engine/head_adapter.h"

#include <algorithm>

#include "engine/kernels/parallel.h"

namespace candor::engine {

std::vector<float> HeadAdapter::down(const Kernels& kernels, const float* hidden, int64_t rows) const {
  const int64_t width = padded(pair->in);
  std::vector<float> u(static_cast<size_t>(rows * rank()));
  kernels.matmul({.a = hidden,
                  .a_row = width,
                  .b = adapter->packed.data() + pair->a_packed,
                  .b_panel = width * kPanel,
                  .c = u.data(),
                  .c_row = rank(),
                  .rows = rows,
                  .panels = rank() / kPanel,
                  .depth = width});
  return u;
}

Matmul HeadAdapter::up_product(const float* u, int64_t rows, int64_t first, int64_t panels, float* logits,
                               int64_t row) const {
  return {.a = u,
          .a_row = rank(),
          .b = adapter->packed.data() + pair->b_packed + first * rank(),
          .b_panel = rank() * kPanel,
          .c = logits,
          .c_row = row,
          .rows = rows,
          .panels = panels,
          .depth = rank(),
          .accumulate = true};
}

void HeadAdapter::block_backward(const Kernels& kernels, const float* dlogits, int64_t row, int64_t rows, int64_t first,
                                 int64_t depth, double* du) const {
  std::vector<float> product(static_cast<size_t>(rows * rank()));
  kernels.matmul({.a = dlogits,
                  .a_row = row,
                  .b = adapter->parameters.data() + pair->b_offset + first * rank(),
                  .b_k = rank(),
                  .b_panel = kPanel,
                  .c = product.data(),
                  .c_row = rank(),
                  .rows = rows,
                  .panels = rank() / kPanel,
                  .depth = depth});
  for (size_t i = 0; i < product.size(); ++i) du[i] += static_cast<double>(product[i]);
}

void HeadAdapter::add_b_gradient(const Context& context, const float* dlogits, int64_t row, int64_t rows, int64_t first,
                                 int64_t ids, const float* u) const {
  if (gradients == nullptr) return;
  const Matmul product{.a = dlogits,
                       .a_row = 1,
                       .a_k = row,
                       .b = u,
                       .b_k = rank(),
                       .b_panel = kPanel,
                       .c = gradients + pair->b_offset + first * rank(),
                       .c_row = rank(),
                       .rows = ids,
                       .panels = rank() / kPanel,
                       .depth = rows,
                       .accumulate = true};
  run_matmuls(context.pool, context.kernels, {&product, 1});
}

void HeadAdapter::finish_backward(const Context& context, const std::vector<double>& du, const float* hidden,
                                  int64_t rows, float* dhidden) const {
  const int64_t width = padded(pair->in);
  std::vector<float> scaled(du.size());
  for (size_t i = 0; i < du.size(); ++i) scaled[i] = static_cast<float>(static_cast<double>(pair->scale) * du[i]);
  std::vector<Matmul> products = {{.a = scaled.data(),
                                   .a_row = rank(),
                                   .b = adapter->parameters.data() + pair->a_offset,
                                   .b_k = width,
                                   .b_panel = kPanel,
                                   .c = dhidden,
                                   .c_row = width,
                                   .rows = rows,
                                   .panels = width / kPanel,
                                   .depth = rank(),
                                   .accumulate = true}};
  if (gradients != nullptr)
    products.push_back({.a = scaled.data(),
                        .a_row = 1,
                        .a_k = rank(),
                        .b = hidden,
                        .b_k = width,
                        .b_panel = kPanel,
                        .c = gradients + pair->a_offset,
                        .c_row = width,
                        .rows = pair->rank,
                        .panels = width / kPanel,
                        .depth = rows,
                        .accumulate = true});
  run_matmuls(context.pool, context.kernels, products);
}

}  // namespace candor::engine
