// Products with the base's matrices, in whatever numbers they are: y = W x (without the bias), and dx = dy·W.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engine/kernels/parallel.h"
#include "engine/packed_matrix.h"

namespace candor::engine {

// Calls row(i) for rows [0, rows), split over the threads in chunks.
void for_rows(ThreadPool& pool, int64_t rows, const std::function<void(int64_t row)>& row);

// Scratch for activations as the matrices see them, where there are such.
struct RoundedScratch {
  uint16_t* bf16 = nullptr;  // where x or dy is rounded to bfloat16: forward rows·padded(in), backward
                             // rows·padded(out) of every product
  uint8_t* int8 = nullptr;   // where x is quantized: rows·quantized_row_bytes(in)
};

// x [rows, padded(in)] and what has been made of it.
struct MatrixInput {
  const float* x = nullptr;
  const uint16_t* bf16 = nullptr;
  const uint8_t* int8 = nullptr;
};

// Panels [panel, panel + panels) of y = x·Wᵀ as the product that W's arithmetic asks for: act(product) with one of
// those that run_matmul() takes.
template <typename Act>
void with_product(const PackedMatrix& w, const MatrixInput& x, int64_t rows, int64_t panel, int64_t panels, float* y,
                  int64_t y_row, Act act) {
  const auto fill = [&](auto product, const auto* a, const auto* b) {
    product.a = a, product.a_row = padded(w.in);
    if (b != nullptr) product.b = b + panel * w.panel_size();
    product.b_panel = w.panel_size();
    product.c = y, product.c_row = y_row;
    product.rows = rows, product.panels = panels, product.depth = padded(w.in);
    return product;
  };
  QuantizedWeights weights = w.weights();
  if (w.quantized()) weights.panels += panel * weights.panel_bytes;
  switch (w.arithmetic()) {
    case Arithmetic::kFloat32: {
      const Matmul product = fill(Matmul(), x.x, w.data.data());
      return w.quantized() ? act(DequantizedMatmul{product, weights}) : act(product);
    }
    case Arithmetic::kBfloat16: {
      const Bf16Matmul product = fill(Bf16Matmul(), x.bf16, w.pairs.data());
      return w.quantized() ? act(DequantizedBf16Matmul{product, weights}) : act(product);
    }
    case Arithmetic::kInt8:
      return act(Int8Matmul{.a = x.int8,
                            .a_row = quantized_row_bytes(w.in),
                            .format = w.format,
                            .b = weights.panels,
                            .b_panel = weights.panel_bytes,
                            .c = y,
                            .c_row = y_row,
                            .rows = rows,
                            .panels = panels,
                            .depth = weights.depth()});
  }
}

// One of several matrices that read the same x.
struct ForwardProduct {
  const PackedMatrix* weight = nullptr;
  float* y = nullptr;  // [rows, padded(out)]
};
// What comes with the products of one x: in the round that rounds x, what reads x as it is; then what becomes of the y.
struct Beside {
  Matmuls before;
  std::vector<Follower> followers;
  std::vector<Finish> finishes;
};
// x: [rows, padded(in)].
void matrices_forward(const Context& context, std::span<const ForwardProduct> products, const float* x, int64_t rows,
                      const RoundedScratch& scratch, Beside beside = {});

// One of several matrices whose dx are added up.
struct InputGradient {
  const PackedMatrix* weight = nullptr;
  const float* dy = nullptr;  // [rows, padded(out)]
};
// Adds to a round what rounds the dy for the products below.
void round_gradients(std::span<const InputGradient> gradients, int64_t rows, const RoundedScratch& scratch,
                     Matmuls& round);
// Writes dx [rows, padded(in)] = sum of dy·W, in the order given; the dy are rounded. followers: what is then added to
// dx.
void matrices_input_gradient(const Context& context, std::span<const InputGradient> gradients, int64_t rows, float* dx,
                             const RoundedScratch& scratch, std::span<const Follower> followers = {});

}  // namespace candor::engine
