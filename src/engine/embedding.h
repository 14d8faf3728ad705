// Token ids to the residual stream's first rows, with what each row's adapter adds: W[t] + s·B·A[:, t]; and its
// gradient.
#pragma once

#include <cstdint>
#include <span>

#include "engine/linear.h"

namespace candor::engine {

// x [ids, padded(hidden)]. u: scratch of ids·u_row floats; only where a row's adapter adapts the embedding.
void embed(const Context& context, const Model& model, std::span<const AdapterRange> adapters,
           std::span<const int32_t> ids, float* x, float* u, int64_t u_row);

// Adds the gradients of A and B of adapted embeddings, tokens in row order. dx [ids, padded(hidden)]: d loss / d x.
// u: scratch of 2·ids·u_row floats.
void embed_backward(const Context& context, std::span<const AdapterRange> adapters, std::span<const int32_t> ids,
                    const float* dx, float* u, int64_t u_row);

}  // namespace candor::engine
