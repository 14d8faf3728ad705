// Linear layers, frozen base plus LoRA: y = W x + b + B·u with u = s·A x, and the backward of it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engine/adapter.h"
#include "engine/model.h"

namespace candor::engine {

// Calls row(i) for rows [0, rows), split over the threads in chunks.
void for_rows(ThreadPool& pool, int64_t rows, const std::function<void(int64_t row)>& row);

// One layer of several that read the same x.
struct LinearCall {
  const PackedMatrix* weight = nullptr;
  const LoraPair* lora = nullptr;  // or nullptr
  float* y = nullptr;              // [rows, padded(out)]
  float* u = nullptr;              // [rows, padded(rank)], kept for the backward; only with lora
};
// x: [rows, padded(in)]. rounded: where the weights are bfloat16, scratch of rows·padded(in) for x as they see it;
// adapters see x itself.
void linears_forward(const Context& context, const Adapter* adapter, std::span<const LinearCall> calls, const float* x,
                     int64_t rows, uint16_t* rounded);

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
// calls·rows·max_padded_rank floats. rounded: where the weights are bfloat16, scratch of rows·padded(out) for each
// call's dy as its dx product sees it; every other gradient sees dy and x themselves.
void linears_backward(const Context& context, const Adapter* adapter, float* gradients,
                      std::span<const LinearBackward> calls, const float* x, int64_t rows, float* dx, float* du,
                      uint16_t* rounded);

}  // namespace candor::engine
