// Linear layers, frozen base plus LoRA: y = W x + b + B·u with u = s·A x, and the backward of it.
#pragma once

#include <cstdint>
#include <span>

#include "engine/adapter.h"
#include "engine/matrix_products.h"

namespace candor::engine {

// One layer of several that read the same x.
struct LinearCall {
  const PackedMatrix* weight = nullptr;
  const LoraPair* lora = nullptr;  // or nullptr
  float* y = nullptr;              // [rows, padded(out)]
  float* u = nullptr;              // [rows, padded(rank)], kept for the backward; only with lora
};
// x: [rows, padded(in)]; the weights may see it rounded, adapters see x itself.
void linears_forward(const Context& context, const Adapter* adapter, std::span<const LinearCall> calls, const float* x,
                     int64_t rows, const RoundedScratch& rounded);

struct LinearBackward {
  const PackedMatrix* weight = nullptr;
  const LoraPair* lora = nullptr;  // or nullptr
  const float* dy = nullptr;       // [rows, padded(out)]
  const float* u = nullptr;        // as the forward left it
  float* dweight = nullptr;        // as the weight's data; null: frozen
  float* dbias = nullptr;          // as its bias; null: frozen, or there is none
};
// Adds the gradients of A and B into `gradients` (laid out as Adapter::parameters), those of weights and biases into
// dweight and dbias, tokens in row order. Without LoRA in any call, adapter and gradients may be null. Writes dx = sum
// of the calls' dy·W + du·A, [rows, padded(in)]; dx may be null: nothing below needs it. du: scratch of
// calls·rows·max_padded_rank floats. Only the dx product with W may see dy rounded; every other gradient sees dy and x
// themselves.
void linears_backward(const Context& context, const Adapter* adapter, float* gradients,
                      std::span<const LinearBackward> calls, const float* x, int64_t rows, float* dx, float* du,
                      const RoundedScratch& rounded);

}  // namespace candor::engine
