// Causal attention over paged keys and values, with grouped queries, forward and backward.
//
// Keys are walked in blocks of 16 at absolute positions with an online softmax (Milakov and Gimelshein, 1805.02867; the
// backward recomputes the probabilities from the stored log-sum as FlashAttention does, 2205.14135). What one query
// adds up, and in which order, depends on its position only.
#pragma once

#include "engine/batch.h"
#include "engine/kv_pages.h"
#include "engine/model.h"

namespace candor::engine {

// q, out: [tokens, padded(heads·head_dim)]; log_sum: [tokens, heads], ln of the sum of exp(scaled scores).
struct AttentionTensors {
  const float* q = nullptr;
  float* out = nullptr;
  float* log_sum = nullptr;
};

// Floats of scratch that one thread needs in either direction.
int64_t attention_scratch_floats(const files::ModelConfig& config);

// The batch's keys and values of this layer are already in their pages. scratch: threads·attention_scratch_floats.
void attention_forward(const Context& context, const files::ModelConfig& config, const TokenBatch& batch, KvPool& kv,
                       int64_t layer, const AttentionTensors& tensors, float* scratch);

// Gradients of one layer's keys and values, by page: [page][kv_head][dk, dv][16 positions][padded(head_dim)].
struct KvGradients {
  Buffer data;
  int64_t kv_heads = 0, block = 0;  // block = 16·padded(head_dim)
  float* keys(int32_t page, int64_t kv_head) { return data.data() + ((page * kv_heads + kv_head) * 2) * block; }
  float* values(int32_t page, int64_t kv_head) { return keys(page, kv_head) + block; }
};

// dout -> dq, which is not the same, and adds into the (zeroed) key and value gradients: within a family the
// completions first, in row order, then the prompt. Families and key-value heads are independent tasks.
void attention_backward(const Context& context, const files::ModelConfig& config, const TokenBatch& batch, KvPool& kv,
                        int64_t layer, const AttentionTensors& tensors, const float* dout, float* dq,
                        KvGradients& gradients, float* scratch);

}  // namespace candor::engine
