// Products with the base's matrices, in whatever numbers they are: y = W x (without the bias), and dx = dy·W.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engine/packed_matrix.h"

namespace candor::engine {

// Calls row(i) for rows [0, rows), split over the threads in chunks.
void for_rows(ThreadPool& pool, int64_t rows, const std::function<void(int64_t row)>& row);

// Scratch for activations as the matrices see them.
struct RoundedScratch {
  uint16_t* bf16 = nullptr;  // where the weights are bfloat16: forward rows·padded(in), backward rows·padded(out) of
                             // every product
};

// One of several matrices that read the same x.
struct ForwardProduct {
  const PackedMatrix* weight = nullptr;
  float* y = nullptr;  // [rows, padded(out)]
};
// x: [rows, padded(in)]. beside: float products that are ready at the same time and touch no y, for the same round of
// the pool.
void matrices_forward(const Context& context, std::span<const ForwardProduct> products, const float* x, int64_t rows,
                      const RoundedScratch& scratch, std::span<const Matmul> beside = {});

// One of several matrices whose dx are added up.
struct InputGradient {
  const PackedMatrix* weight = nullptr;
  const float* dy = nullptr;  // [rows, padded(out)]
};
// Writes dx [rows, padded(in)] = sum of dy·W, in the order given.
void matrices_input_gradient(const Context& context, std::span<const InputGradient> gradients, int64_t rows, float* dx,
                             const RoundedScratch& scratch);

}  // namespace candor::engine
