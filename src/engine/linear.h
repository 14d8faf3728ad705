// Linear layers: frozen base plus what each row's adapter adds (adapter.h), and the backward of it.
#pragma once

#include <cstdint>
#include <span>

#include "engine/adapter.h"
#include "engine/dropout.h"
#include "engine/matrix_products.h"

namespace candor::engine {

// The token rows [begin, end) of a batch that go through an adapter. In a batch, ranges are in order and disjoint; rows
// outside of all have the base alone. Each row's numbers are those it would have by itself.
struct AdapterRange {
  int64_t begin = 0, end = 0;
  const Adapter* adapter = nullptr;
  float* gradients = nullptr;  // laid out as its parameters; null: a forward pass, or frozen
};
// The adapter of a row, or null.
const Adapter* adapter_of(std::span<const AdapterRange> adapters, int64_t row);

// One layer of several that read the same x.
struct LinearCall {
  const PackedMatrix* weight = nullptr;
  int64_t layer = 0;
  Linear linear = Linear::kQ;
  float* y = nullptr;  // [rows, padded(out)], or null: only u
  float* u = nullptr;  // [rows, u_row]: s·A x, kept for the backward; only where a row has an adapter for it
};
// x: [rows, padded(in)]; the weights may see it rounded, adapters see x itself, or where dropout is given (a training
// pass) and the adapter's config has some, what it leaves of x.
void linears_forward(const Context& context, std::span<const AdapterRange> adapters, std::span<const LinearCall> calls,
                     const float* x, int64_t rows, int64_t u_row, const RoundedScratch& rounded,
                     const Dropout* dropout = nullptr);

struct LinearBackward {
  const PackedMatrix* weight = nullptr;
  int64_t layer = 0;
  Linear linear = Linear::kQ;
  const float* dy = nullptr;  // [rows, padded(out)]
  const float* u = nullptr;   // as the forward left it
  float* dweight = nullptr;   // as the weight's data; null: frozen
  float* dbias = nullptr;     // as its bias; null: frozen, or there is none
  // Only read where a row has DoRA: y as the forward left it (null: it is computed again), or the sum of y and `beside`
  // where that is not null, and space for m/n ⊙ dy; all [rows, padded(out)]. The space may be dy's.
  const float *y = nullptr, *beside = nullptr;
  float* scaled = nullptr;
};
// Adds the gradients of A, B and m into those of each range, those of weights and biases into dweight and dbias, tokens
// in row order. Writes dx = sum of the calls' dy·W + du·A, [rows, padded(in)]; dx may be null: nothing below needs it;
// or x, since it is written when x is done with. du: scratch of calls·rows·u_row floats. Only the dx product with W may
// see dy rounded; every other gradient sees dy and x themselves.
void linears_backward(const Context& context, std::span<const AdapterRange> adapters,
                      std::span<const LinearBackward> calls, const float* x, int64_t rows, float* dx, float* du,
                      int64_t u_row, const RoundedScratch& rounded, const Dropout* dropout = nullptr);

}  // namespace candor::engine
