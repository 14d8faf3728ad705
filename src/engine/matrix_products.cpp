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

void matrices_forward(const Context& context, std::span<const ForwardProduct> products, const float* x, int64_t rows,
                      const RoundedScratch& scratch, Beside beside) {
  const auto any = [&](Arithmetic arithmetic) {
    return std::any_of(products.begin(), products.end(),
                       [&](const ForwardProduct& product) { return product.weight->arithmetic() == arithmetic; });
  };
  if (!products.empty()) {
    const int64_t width = padded(products.front().weight->in);
    if (any(Arithmetic::kBfloat16)) beside.before.roundings.push_back({x, rows * width, scratch.bf16});
    if (any(Arithmetic::kInt8)) beside.before.quantizings.push_back({x, rows, width, scratch.int8});
  }
  run_matmuls(context.pool, context.kernels, beside.before);
  Matmuls all;
  all.followers = std::move(beside.followers);
  all.finishes = std::move(beside.finishes);
  for (const ForwardProduct& product : products) {
    const PackedMatrix& w = *product.weight;
    with_product(w, {x, scratch.bf16, scratch.int8}, rows, 0, w.panels(), product.y, padded(w.out),
                 [&](const auto& m) { all.add(m); });
  }
  run_matmuls(context.pool, context.kernels, all);
}

namespace {

template <typename Number>
TransposedProduct<Number> input_gradient(const PackedMatrix& w, const Number* weight, const QuantizedWeights& quantized,
                                         const Number* dy, int64_t rows, float* dx) {
  return {.dy = dy,
          .dy_row = padded(w.out),
          .weight = weight,
          .rows = rows,
          .out = w.out,
          .in = padded(w.in),
          .dx = dx,
          .dx_row = padded(w.in),
          .quantized = w.quantized() ? &quantized : nullptr};
}

// Where each dy lies rounded, one behind the other; null: it is read as it is.
std::vector<uint16_t*> rounded_places(std::span<const InputGradient> gradients, int64_t rows, uint16_t* scratch) {
  std::vector<uint16_t*> places;
  for (const InputGradient& gradient : gradients) {
    const bool whole = gradient.weight->arithmetic() == Arithmetic::kFloat32;
    places.push_back(whole ? nullptr : scratch);
    if (!whole) scratch += rows * padded(gradient.weight->out);
  }
  return places;
}

}  // namespace

void round_gradients(std::span<const InputGradient> gradients, int64_t rows, const RoundedScratch& scratch,
                     Matmuls& round) {
  const std::vector<uint16_t*> places = rounded_places(gradients, rows, scratch.bf16);
  for (size_t i = 0; i < gradients.size(); ++i)
    if (places[i] != nullptr)
      round.roundings.push_back({gradients[i].dy, rows * padded(gradients[i].weight->out), places[i]});
}

void matrices_input_gradient(const Context& context, std::span<const InputGradient> gradients, int64_t rows, float* dx,
                             const RoundedScratch& scratch, std::span<const Follower> followers) {
  const std::vector<uint16_t*> rounded = rounded_places(gradients, rows, scratch.bf16);
  std::vector<QuantizedWeights> quantized;
  for (const InputGradient& gradient : gradients) quantized.push_back(gradient.weight->weights());
  std::vector<TransposedMatmul> floats;
  std::vector<Bf16TransposedMatmul> bf16;
  for (size_t i = 0; i < gradients.size(); ++i) {
    const PackedMatrix& w = *gradients[i].weight;
    if (rounded[i] == nullptr)
      floats.push_back(input_gradient(w, w.data.data(), quantized[i], gradients[i].dy, rows, dx));
    else
      bf16.push_back(input_gradient<uint16_t>(w, w.pairs.data(), quantized[i], rounded[i], rows, dx));
  }
  if (!floats.empty() && !bf16.empty()) bf16.front().accumulate = true;  // to what the first round leaves
  run_transposed_matmuls(context.pool, context.kernels, floats, bf16.empty() ? followers : std::span<const Follower>());
  run_transposed_matmuls(context.pool, context.kernels, bf16, followers);
}

}  // namespace candor::engine
