#include "engine/linear.h"

#include <algorithm>
#include <vector>

#include "engine/kernels/parallel.h"
#include "engine/weight_gradients.h"

namespace candor::engine {

void linears_forward(const Context& context, const Adapter* adapter, std::span<const LinearCall> calls, const float* x,
                     int64_t rows, const RoundedScratch& rounded) {
  std::vector<ForwardProduct> base;
  std::vector<Matmul> first, second;  // what reads x, then what reads u
  for (const LinearCall& call : calls) {
    const PackedMatrix& w = *call.weight;
    base.push_back({call.weight, call.y});
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
  matrices_forward(context, base, x, rows, rounded, first);
  run_matmuls(context.pool, context.kernels, second);
}

void linears_backward(const Context& context, const Adapter* adapter, float* gradients,
                      std::span<const LinearBackward> calls, const float* x, int64_t rows, float* dx, float* du,
                      const RoundedScratch& rounded) {
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
  std::vector<InputGradient> base;
  for (const LinearBackward& call : calls) base.push_back({call.weight, call.dy});
  matrices_input_gradient(context, base, rows, dx, rounded);
  // One after the other: each adds to the same dx.
  for (const Matmul& m : to_input) run_matmuls(context.pool, context.kernels, {&m, 1});
}

}  // namespace candor::engine
