// Token ids to the residual stream's first rows, with what each row's adapter adds: W[t] + s·B·A[:, t]; learned
// positions; and the gradient of the former.
#pragma once

#include <cstdint>
#include <span>

#include "engine/batch.h"
#include "engine/linear.h"

namespace candor::engine {

// x [tokens, padded(hidden)], zeros in the padding. u: scratch of tokens·u_row floats; only where a row's adapter
// adapts the embedding. No token may stand beyond the learned positions (CHECK): what reads rows cuts or refuses them.
void embed(const Context& context, const Model& model, std::span<const AdapterRange> adapters, const TokenBatch& batch,
           float* x, float* u, int64_t u_row);

// Adds the gradients of A, B and m of adapted embeddings, tokens in row order. dx [ids, padded(hidden)]: d loss / d x,
// which of rows with DoRA becomes m/n ⊙ dx. u: scratch of 2·ids·u_row floats; v: one of the shape of dx, for DoRA.
void embed_backward(const Context& context, const Model& model, std::span<const AdapterRange> adapters,
                    std::span<const int32_t> ids, float* dx, float* u, int64_t u_row, float* v);

}  // namespace candor::engine
