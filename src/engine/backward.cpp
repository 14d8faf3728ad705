#include <algorithm>

#include "engine/forward.h"
#include "engine/weight_gradients.h"

namespace candor::engine {

namespace {

// Takes dk and dv of the batch's tokens out of their pages, and undoes the rotation of q and k.
void collect_keys(const Context& context, const files::ModelConfig& c, const TokenBatch& batch, KvGradients& gradients,
                  const Activations::Scratch& s) {
  const int64_t width = padded(c.head_dim), q_width = padded(c.heads * c.head_dim),
                kv_width = padded(c.kv_heads * c.head_dim), half = c.head_dim / 2;
  for_rows(context.pool, static_cast<int64_t>(batch.segments.size()), [&](int64_t i) {
    const Segment& segment = batch.segments[i];
    for (int64_t t = segment.begin; t < segment.end; ++t) {
      const int64_t position = batch.positions[t], slot = position % kPageTokens;
      const int32_t page = segment.pages[position / kPageTokens];
      for (int64_t head = 0; head < c.kv_heads; ++head) {
        std::copy_n(gradients.keys(page, head) + slot * width, c.head_dim, s.dk + t * kv_width + head * c.head_dim);
        std::copy_n(gradients.values(page, head) + slot * width, c.head_dim, s.dv + t * kv_width + head * c.head_dim);
      }
      const float *cosine = s.cosine + t * half, *sine = s.sine + t * half;
      context.kernels.rope(s.dq + t * q_width, cosine, sine, c.heads, c.head_dim, -1.0f);
      context.kernels.rope(s.dk + t * kv_width, cosine, sine, c.kv_heads, c.head_dim, -1.0f);
    }
  });
}

}  // namespace

void backward(const Context& context, const Model& model, const Trainable& trainable, const TokenBatch& batch,
              KvPool& kv, Activations& activations, KvGradients& kv_gradients, const float* dhidden, float* gradients) {
  const files::ModelConfig& c = model.config;
  const Kernels& kernels = context.kernels;
  const int64_t tokens = batch.tokens(), hidden = padded(c.hidden_size), inner = padded(c.intermediate_size);
  const Activations::Scratch& s = activations.scratch();
  const auto epsilon = static_cast<float>(c.norm_eps);
  const Adapter* adapter = trainable.adapter;
  const WeightOffsets& at = trainable.weights;
  auto gradient = [&](int64_t offset) { return offset < 0 ? nullptr : gradients + offset; };
  auto norm_gradient = [&](int64_t offset, const float* x, const float* factor, const float* dy) {
    if (offset >= 0) add_norm_gradient(context, x, factor, dy, tokens, hidden, gradients + offset);
  };
  // dx is the gradient of the residual stream, from the last layer's output to the first one's input.
  norm_gradient(at.final_norm, activations.final_input(), activations.final_factor(), dhidden);
  for_rows(context.pool, tokens, [&](int64_t t) {
    float* dx = s.dx + t * hidden;
    std::fill_n(dx, hidden, 0.0f);
    kernels.rms_norm_backward(activations.final_input() + t * hidden, model.final_norm.data(),
                              activations.final_factor()[t], dhidden + t * hidden, c.hidden_size, dx);
  });
  for (int64_t l = c.layers - 1; l >= 0; --l) {
    const LayerWeights& weights = model.layers[l];
    const LayerActivations a = activations.layer(l);
    auto call = [&](Linear linear, const float* dy) {
      const int i = static_cast<int>(linear);
      return LinearBackward{&weights[linear],
                            adapter == nullptr ? nullptr : adapter->find(l, linear),
                            dy,
                            a.u[i],
                            gradient(at.layers[l].weight[i]),
                            gradient(at.layers[l].bias[i])};
    };

    for_rows(context.pool, tokens, [&](int64_t t) {
      kernels.silu_mul(a.gate + t * inner, a.up + t * inner, inner, s.act + t * inner);
      kernels.rms_norm(a.middle + t * hidden, weights.mlp_norm.data(), epsilon, c.hidden_size, s.normed + t * hidden);
    });
    const LinearBackward down[] = {call(Linear::kDown, s.dx)};
    linears_backward(context, adapter, gradients, down, s.act, tokens, s.dact, s.du, s.rounded);
    for_rows(context.pool, tokens, [&](int64_t t) {
      kernels.silu_mul_backward(a.gate + t * inner, a.up + t * inner, s.dact + t * inner, inner, s.dgate + t * inner,
                                s.dup + t * inner);
    });
    const LinearBackward gate_up[] = {call(Linear::kGate, s.dgate), call(Linear::kUp, s.dup)};
    linears_backward(context, adapter, gradients, gate_up, s.normed, tokens, s.dh, s.du, s.rounded);
    norm_gradient(at.layers[l].mlp_norm, a.middle, a.mlp_factor, s.dh);
    for_rows(context.pool, tokens, [&](int64_t t) {
      kernels.rms_norm_backward(a.middle + t * hidden, weights.mlp_norm.data(), a.mlp_factor[t], s.dh + t * hidden,
                                c.hidden_size, s.dx + t * hidden);
      kernels.rms_norm(a.input + t * hidden, weights.attention_norm.data(), epsilon, c.hidden_size,
                       s.normed + t * hidden);
    });

    const LinearBackward o[] = {call(Linear::kO, s.dx)};
    linears_backward(context, adapter, gradients, o, a.attention, tokens, s.dattention, s.du, s.rounded);
    kv_gradients.data.fill_zero();
    attention_backward(context, c, batch, kv, l, {a.q, a.attention, a.log_sum}, s.dattention, s.dq, kv_gradients,
                       s.attention);
    collect_keys(context, c, batch, kv_gradients, s);
    const LinearBackward qkv[] = {call(Linear::kQ, s.dq), call(Linear::kK, s.dk), call(Linear::kV, s.dv)};
    // Below the first layer only its norm and the embedding are left to be trained.
    const bool needed = l > 0 || at.embedding >= 0 || at.layers[0].attention_norm >= 0;
    linears_backward(context, adapter, gradients, qkv, s.normed, tokens, needed ? s.dh : nullptr, s.du, s.rounded);
    if (!needed) return;
    norm_gradient(at.layers[l].attention_norm, a.input, a.attention_factor, s.dh);
    for_rows(context.pool, tokens, [&](int64_t t) {
      kernels.rms_norm_backward(a.input + t * hidden, weights.attention_norm.data(), a.attention_factor[t],
                                s.dh + t * hidden, c.hidden_size, s.dx + t * hidden);
    });
  }
  if (at.embedding >= 0) add_embedding_gradient(context, batch.ids, s.dx, hidden, gradients + at.embedding);
}

}  // namespace candor::engine
