#include "engine/linear.h"

#include <algorithm>
#include <vector>

#include "engine/kernels/parallel.h"
#include "engine/weight_gradients.h"

namespace candor::engine {

void for_rows(ThreadPool& pool, int64_t rows, const std::function<void(int64_t row)>& row) {
  const int64_t chunks = std::min<int64_t>(rows, 4 * pool.threads());
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

void linears_forward(const Context& context, const Adapter* adapter, std::span<const LinearCall> calls, const float* x,
                     int64_t rows, uint16_t* rounded) {
  std::vector<Matmul> first, second;  // what reads x, then what reads u
  std::vector<Bf16Matmul> first_bf16;
  const PackedMatrix& any = *calls.front().weight;
  if (any.dtype() == Dtype::kBfloat16) round_rows(context.pool, context.kernels, x, rows * padded(any.in), rounded);
  bool biased = false;
  for (const LinearCall& call : calls) {
    const PackedMatrix& w = *call.weight;
    if (w.dtype() == Dtype::kFloat32)
      first.push_back(base_product<Matmul>(w, w.data.data(), x, rows, call.y));
    else
      first_bf16.push_back(base_product<Bf16Matmul>(w, w.pairs.data(), rounded, rows, call.y));
    biased = biased || !w.bias.empty();
    if (call.lora == nullptr) continue;
    const int64_t rank = padded(call.lora->rank);
    first.push_back({.a = x,
                     .a_row = padded(w.in),
                     .b = adapter->packed.data() + call.lora->a_packed,
                     .b_panel = padded(w.in) * kPanel,
                     .c = call.u,
                     .c_row = rank,
                     .rows = rows,
                     .panels = rank / kPanel,
                     .depth = padded(w.in)});
    second.push_back({.a = call.u,
                      .a_row = rank,
                      .b = adapter->packed.data() + call.lora->b_packed,
                      .b_panel = rank * kPanel,
                      .c = call.y,
                      .c_row = padded(w.out),
                      .rows = rows,
                      .panels = w.panels(),
                      .depth = rank,
                      .accumulate = true});
  }
  run_matmuls(context.pool, context.kernels, first, first_bf16);
  if (biased)
    for_rows(context.pool, rows, [&](int64_t row) {
      for (const LinearCall& call : calls) {
        const Buffer& bias = call.weight->bias;
        if (!bias.empty()) context.kernels.add(bias.data(), bias.size(), call.y + row * bias.size());
      }
    });
  run_matmuls(context.pool, context.kernels, second);
}

void linears_backward(const Context& context, const Adapter* adapter, float* gradients,
                      std::span<const LinearBackward> calls, const float* x, int64_t rows, float* dx, float* du,
                      uint16_t* rounded) {
  std::vector<Matmul> to_rank, weights, to_input;
  std::vector<WeightGradient> whole;
  for (const LinearBackward& call : calls) {
    const PackedMatrix& w = *call.weight;
    if (call.dweight != nullptr) whole.push_back({x, padded(w.in), call.dy, padded(w.out), w.panels(), call.dweight});
    if (call.dbias != nullptr) add_bias_gradient(context, call.dy, rows, padded(w.out), call.dbias);
    if (call.lora == nullptr) continue;
    const LoraPair& lora = *call.lora;
    const int64_t rank = padded(lora.rank), in = padded(lora.in), out = padded(lora.out);
    to_rank.push_back({.a = call.dy,
                       .a_row = out,
                       .b = adapter->parameters.data() + lora.b_offset,
                       .b_k = rank,
                       .b_panel = kPanel,
                       .c = du,
                       .c_row = rank,
                       .rows = rows,
                       .panels = rank / kPanel,
                       .depth = out});
    weights.push_back({.a = call.dy,
                       .a_row = 1,
                       .a_k = out,
                       .b = call.u,
                       .b_k = rank,
                       .b_panel = kPanel,
                       .c = gradients + lora.b_offset,
                       .c_row = rank,
                       .rows = lora.out,
                       .panels = rank / kPanel,
                       .depth = rows,
                       .accumulate = true});
    weights.push_back({.a = du,
                       .a_row = 1,
                       .a_k = rank,
                       .b = x,
                       .b_k = in,
                       .b_panel = kPanel,
                       .c = gradients + lora.a_offset,
                       .c_row = in,
                       .rows = lora.rank,
                       .panels = in / kPanel,
                       .depth = rows,
                       .accumulate = true});
    to_input.push_back({.a = du,
                        .a_row = rank,
                        .b = adapter->parameters.data() + lora.a_offset,
                        .b_k = in,
                        .b_panel = kPanel,
                        .c = dx,
                        .c_row = in,
                        .rows = rows,
                        .panels = in / kPanel,
                        .depth = rank,
                        .accumulate = true});
    du += rows * rank;
  }
  run_matmuls(context.pool, context.kernels, to_rank);
  if (!to_rank.empty() && adapter->scale != 1.0f)
    for_rows(context.pool, rows, [&](int64_t row) {
      for (const Matmul& m : to_rank) context.kernels.scale(adapter->scale, m.c_row, m.c + row * m.c_row);
    });
  run_matmuls(context.pool, context.kernels, weights);
  add_weight_gradients(context, whole, rows);
  if (dx == nullptr) return;
  std::vector<TransposedMatmul> base;
  std::vector<Bf16TransposedMatmul> base_bf16;
  for (const LinearBackward& call : calls) {
    const PackedMatrix& w = *call.weight;
    if (w.dtype() == Dtype::kFloat32) {
      base.push_back(input_gradient(w, w.data.data(), call.dy, rows, dx));
      continue;
    }
    round_rows(context.pool, context.kernels, call.dy, rows * padded(w.out), rounded);
    base_bf16.push_back(input_gradient<uint16_t>(w, w.pairs.data(), rounded, rows, dx));
    rounded += rows * padded(w.out);
  }
  run_transposed_matmuls(context.pool, context.kernels, base);
  run_transposed_matmuls(context.pool, context.kernels, base_bf16);
  // One after the other: each adds to the same dx.
  for (const Matmul& m : to_input) run_matmuls(context.pool, context.kernels, {&m, 1});
}

}  // namespace candor::engine
