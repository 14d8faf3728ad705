#include <algorithm>
#include <span>
#include <vector>

#include "base/check.h"
#include "engine/embedding.h"
#include "engine/forward.h"
#include "engine/mlp.h"
#include "engine/norm.h"
#include "engine/weight_gradients.h"

namespace candor::engine {

namespace {

// Takes dk and dv of the batch's tokens out of their pages, undoes the rotation of q and k, and puts the three into one
// where they are one.
void collect_keys(const Context& context, const files::ModelConfig& c, const TokenBatch& batch, KvGradients& gradients,
                  const Activations::Scratch& s) {
  const int64_t width = padded(c.head_dim), q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim,
                pairs = rotated_pairs(c);
  for_rows(context.pool, batch.tokens(), [&](int64_t t) {
    const int64_t position = batch.positions[t], slot = position % kPageTokens;
    const int32_t page = batch.segments[batch.segment_of[t]].pages[position / kPageTokens];
    for (int64_t head = 0; head < c.kv_heads; ++head) {
      std::copy_n(gradients.keys(page, head) + slot * width, c.head_dim, s.dk + t * s.kv_row + head * c.head_dim);
      std::copy_n(gradients.values(page, head) + slot * width, c.head_dim, s.dv + t * s.kv_row + head * c.head_dim);
    }
    float *dq = s.dq + t * padded(q), *dk = s.dk + t * s.kv_row, *dv = s.dv + t * s.kv_row;
    if (pairs > 0) {
      const float *cosine = s.cosine + t * pairs, *sine = s.sine + t * pairs;
      context.kernels.rope(dq, cosine, sine, c.heads, c.head_dim, -1.0f);
      context.kernels.rope(dk, cosine, sine, c.kv_heads, c.head_dim, -1.0f);
    }
    if (s.qkv == nullptr) {
      for (float* row : {dk, dv}) std::fill(row + kv, row + s.kv_row, 0.0f);
      return;
    }
    float* dqkv = s.qkv + t * s.kv_row;
    std::copy_n(dq, q, dqkv);
    std::fill(dqkv + q + 2 * kv, dqkv + s.kv_row, 0.0f);
  });
}

// Queries and keys as their layer computed them, before the rotation.
void undo_rotation(const Context& context, const files::ModelConfig& c, int64_t tokens, const LayerActivations& a,
                   const Activations::Scratch& s) {
  const int64_t width = padded(c.heads * c.head_dim), pairs = rotated_pairs(c);
  if (pairs == 0) return;
  for_rows(context.pool, tokens, [&](int64_t t) {
    const float *cosine = s.cosine + t * pairs, *sine = s.sine + t * pairs;
    context.kernels.rope(a.q + t * width, cosine, sine, c.heads, c.head_dim, -1.0f);
    if (!c.fused_qkv) context.kernels.rope(a.k + t * s.kv_row, cosine, sine, c.kv_heads, c.head_dim, -1.0f);
  });
}

}  // namespace

void backward(const Context& context, const Model& model, std::span<const TrainedRange> trained,
              const TokenBatch& batch, KvPool& kv, Activations& activations, KvGradients& kv_gradients,
              const float* dhidden, const Dropout* dropout) {
  CHECK(activations.keep() != Keep::kOneLayer);
  const files::ModelConfig& c = model.config;
  const Kernels& kernels = context.kernels;
  const int64_t tokens = batch.tokens(), hidden = padded(c.hidden_size), inner = padded(c.intermediate_size);
  const Activations::Scratch& s = activations.scratch();
  const auto epsilon = static_cast<float>(c.norm_eps);
  // Of the layers' own weights, which only a single range can train.
  const WeightOffsets& at = trained.front().trainable->weights;
  float* gradients = trained.front().gradients;
  const bool whole = trained.front().trainable->adapter == nullptr;
  CHECK(!whole || trained.size() == 1);
  std::vector<AdapterRange> adapters;
  bool dora = false, embedding = false;
  for (const TrainedRange& range : trained) {
    const Adapter* adapter = range.trainable->adapter;
    adapters.push_back({range.begin, range.end, adapter, range.gradients});
    dora = dora || (adapter != nullptr && adapter->config.use_dora);
    embedding = embedding || range.trainable->weights.embedding >= 0 ||
                (adapter != nullptr && adapter->embedding_pair() != nullptr);
  }
  const bool stretched = c.rope.type == files::RopeType::kYarn;  // the rotation also multiplies, and is not undone
  auto gradient = [&](int64_t offset) { return offset < 0 ? nullptr : gradients + offset; };
  auto norm_gradient = [&](int64_t weight, int64_t bias, const NormWeights& norm, const float* x, const float* factor,
                           const float* dy) {
    if (weight >= 0) add_norm_gradient(context, norm, x, factor, dy, tokens, c.hidden_size, gradients + weight);
    if (bias >= 0) add_bias_gradient(context, dy, tokens, hidden, gradients + bias);
  };
  // dx is the gradient of the residual stream, from the last layer's output to the first one's input.
  norm_gradient(at.final_norm, at.final_norm_bias, model.final_norm, activations.final_input(),
                activations.final_factor(), dhidden);
  for_rows(context.pool, tokens, [&](int64_t t) {
    float* dx = s.dx + t * hidden;
    std::fill_n(dx, hidden, 0.0f);
    norm_row_backward(kernels, activations.final_input() + t * hidden, model.final_norm, activations.final_factor()[t],
                      dhidden + t * hidden, c.hidden_size, dx);
  });
  for (int64_t l = c.layers - 1; l >= 0; --l) {
    const LayerWeights& weights = model.layers[l];
    const LayerActivations a = activations.layer(l);
    // Of the last layer the forward pass left everything.
    if (activations.keep() == Keep::kLayerInputs && l + 1 < c.layers)
      layer_again(context, model, adapters, batch, kv, l, activations, dropout);
    // y, scaled and beside: for DoRA (linear.h). What o and down add to the residual stream is its difference.
    auto call = [&](Linear linear, const float* dy, const float* y, float* scaled, const float* beside = nullptr) {
      const int i = static_cast<int>(linear);
      return LinearBackward{&weights[linear],
                            l,
                            linear,
                            dy,
                            a.u[i],
                            gradient(at.layers[l].weight[i]),
                            gradient(at.layers[l].bias[i]),
                            y,
                            beside,
                            scaled};
    };

    for_rows(context.pool, tokens, [&](int64_t t) { activate_token(kernels, a, inner, t, s.act + t * inner); });
    const float* output = l + 1 < c.layers ? activations.layer(l + 1).input : activations.final_input();
    const LinearBackward down[] = {call(Linear::kDown, s.dx, output, s.projected, a.middle)};
    linears_backward(context, adapters, down, s.act, tokens, s.dact, s.du, s.u_row, s.rounded, dropout);
    const bool gated = a.gate != nullptr;
    float* dgate = dora && gated ? activations.magnitudes() : a.gate;
    float* dup = dora ? activations.magnitudes() + (gated ? tokens * inner : 0) : a.up;
    for_rows(context.pool, tokens, [&](int64_t t) {
      activate_token_backward(kernels, a, s.dact + t * inner, inner, t, dgate, dup);
      norm_row(kernels, a.middle + t * hidden, weights.mlp_norm, epsilon, c.hidden_size, s.normed + t * hidden);
    });
    const LinearBackward gate_up[] = {call(Linear::kGate, dgate, a.gate, dgate), call(Linear::kUp, dup, a.up, dup)};
    linears_backward(context, adapters, std::span(gate_up).subspan(gated ? 0 : 1), s.normed, tokens, s.dh, s.du,
                     s.u_row, s.rounded, dropout);
    norm_gradient(at.layers[l].mlp_norm, at.layers[l].mlp_norm_bias, weights.mlp_norm, a.middle, a.mlp_factor, s.dh);
    for_rows(context.pool, tokens, [&](int64_t t) {
      norm_row_backward(kernels, a.middle + t * hidden, weights.mlp_norm, a.mlp_factor[t], s.dh + t * hidden,
                        c.hidden_size, s.dx + t * hidden);
    });

    const LinearBackward o[] = {call(Linear::kO, s.dx, a.middle, s.projected, a.input)};
    linears_backward(context, adapters, o, a.attention, tokens, s.dattention, s.du, s.u_row, s.rounded, dropout);
    kv_gradients.data.fill_zero();
    attention_backward(context, c, batch, kv, l, {a.q, a.attention, a.log_sum}, s.dattention, s.dq, kv_gradients,
                       s.attention);
    collect_keys(context, c, batch, kv_gradients, s);
    for_rows(context.pool, tokens, [&](int64_t t) {
      norm_row(kernels, a.input + t * hidden, weights.attention_norm, epsilon, c.hidden_size, s.normed + t * hidden);
    });
    if (dora && !stretched) undo_rotation(context, c, tokens, a, s);
    const LinearBackward split[] = {call(Linear::kQ, s.dq, stretched ? nullptr : a.q, stretched ? a.q : s.dq),
                                    call(Linear::kK, s.dk, stretched ? nullptr : a.k, stretched ? a.k : s.dk),
                                    call(Linear::kV, s.dv, a.v, s.dv)};
    const LinearBackward fused[] = {
        call(Linear::kQkv, s.qkv, nullptr, dora && c.fused_qkv ? activations.magnitudes() : nullptr)};
    // Below the first layer only its norm and the embedding are left to be trained.
    const bool needed = l > 0 || embedding || at.layers[0].attention_norm >= 0;
    linears_backward(context, adapters, c.fused_qkv ? std::span<const LinearBackward>(fused) : split, s.normed, tokens,
                     needed ? s.dh : nullptr, s.du, s.u_row, s.rounded, dropout);
    if (!needed) return;
    norm_gradient(at.layers[l].attention_norm, at.layers[l].attention_norm_bias, weights.attention_norm, a.input,
                  a.attention_factor, s.dh);
    for_rows(context.pool, tokens, [&](int64_t t) {
      norm_row_backward(kernels, a.input + t * hidden, weights.attention_norm, a.attention_factor[t], s.dh + t * hidden,
                        c.hidden_size, s.dx + t * hidden);
    });
  }
  embed_backward(context, model, adapters, batch.ids, s.dx, s.du, s.u_row, s.normed);
  if (at.positions >= 0) add_embedding_gradient(context, batch.positions, s.dx, hidden, gradients + at.positions);
  for (const TrainedRange& range : trained)
    if (const int64_t offset = range.trainable->weights.embedding; offset >= 0)
      add_embedding_gradient(context, std::span(batch.ids).subspan(range.begin, range.end - range.begin),
                             s.dx + range.begin * hidden, hidden, range.gradients + offset);
}

}  // namespace candor::engine
