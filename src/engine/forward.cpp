#include "engine/forward.h"

#include <algorithm>

#include "engine/embedding.h"

namespace candor::engine {

namespace {

struct Widths {
  int64_t hidden, q, kv, inner;
};

Widths widths_of(const files::ModelConfig& c) {
  return {padded(c.hidden_size), padded(c.heads * c.head_dim), padded(c.kv_heads * c.head_dim),
          padded(c.intermediate_size)};
}

void compute_angles(const Context& context, const Rope& rope, const TokenBatch& batch, const Activations::Scratch& s) {
  const auto half = static_cast<int64_t>(rope.frequencies.size());
  for_rows(context.pool, batch.tokens(),
           [&](int64_t t) { rope_angles(rope, batch.positions[t], s.cosine + t * half, s.sine + t * half); });
}

// Rotates q and k and stores keys and values in their pages; then each completion copies what its first page shares
// with its prompt's last one.
void store_keys(const Context& context, const files::ModelConfig& c, const TokenBatch& batch, KvPool& kv, int64_t layer,
                float* q, const Activations::Scratch& s) {
  const Widths w = widths_of(c);
  const int64_t half = c.head_dim / 2;
  for_rows(context.pool, static_cast<int64_t>(batch.segments.size()), [&](int64_t i) {
    const Segment& segment = batch.segments[i];
    for (int64_t t = segment.begin; t < segment.end; ++t) {
      const float *cosine = s.cosine + t * half, *sine = s.sine + t * half;
      context.kernels.rope(q + t * w.q, cosine, sine, c.heads, c.head_dim, 1.0f);
      context.kernels.rope(s.k + t * w.kv, cosine, sine, c.kv_heads, c.head_dim, 1.0f);
      const int64_t position = batch.positions[t];
      kv.store(segment.pages[position / kPageTokens], layer, position, s.k + t * w.kv, s.v + t * w.kv);
    }
  });
  for_rows(context.pool, static_cast<int64_t>(batch.segments.size()), [&](int64_t i) {
    const Segment& segment = batch.segments[i];
    if (segment.straddled_page < 0) return;
    const int32_t own = segment.pages[segment.position / kPageTokens];
    kv.copy_slots(segment.straddled_page, own, layer, segment.position % kPageTokens);
  });
}

}  // namespace

void forward(const Context& context, const Model& model, const Rope& rope, std::span<const AdapterRange> adapters,
             const TokenBatch& batch, KvPool& kv, Activations& activations, const Dropout* dropout) {
  const files::ModelConfig& c = model.config;
  const Widths w = widths_of(c);
  const Kernels& kernels = context.kernels;
  const int64_t tokens = batch.tokens();
  activations.reserve(tokens);
  const Activations::Scratch& s = activations.scratch();
  const auto epsilon = static_cast<float>(c.norm_eps);
  compute_angles(context, rope, batch, s);
  embed(context, model, adapters, batch.ids, activations.layer(0).input, activations.layer(0).u[0], s.u_row);

  for (int64_t l = 0; l < c.layers; ++l) {
    const LayerWeights& weights = model.layers[l];
    const LayerActivations a = activations.layer(l);
    float* output = l + 1 < c.layers ? activations.layer(l + 1).input : activations.final_input();
    auto call = [&](Linear linear, float* y) {
      return LinearCall{&weights[linear], l, linear, y, a.u[static_cast<int>(linear)]};
    };

    for_rows(context.pool, tokens, [&](int64_t t) {
      a.attention_factor[t] = kernels.rms_norm(a.input + t * w.hidden, weights.attention_norm.data(), epsilon,
                                               c.hidden_size, s.normed + t * w.hidden);
    });
    const LinearCall qkv[] = {call(Linear::kQ, a.q), call(Linear::kK, s.k), call(Linear::kV, s.v)};
    linears_forward(context, adapters, qkv, s.normed, tokens, s.u_row, s.rounded, dropout);
    store_keys(context, c, batch, kv, l, a.q, s);
    attention_forward(context, c, batch, kv, l, {a.q, a.attention, a.log_sum}, s.attention);
    const LinearCall o[] = {call(Linear::kO, s.projected)};
    linears_forward(context, adapters, o, a.attention, tokens, s.u_row, s.rounded, dropout);

    for_rows(context.pool, tokens, [&](int64_t t) {
      float* middle = a.middle + t * w.hidden;
      std::copy_n(a.input + t * w.hidden, w.hidden, middle);
      kernels.add(s.projected + t * w.hidden, w.hidden, middle);
      a.mlp_factor[t] =
          kernels.rms_norm(middle, weights.mlp_norm.data(), epsilon, c.hidden_size, s.normed + t * w.hidden);
    });
    const LinearCall gate_up[] = {call(Linear::kGate, a.gate), call(Linear::kUp, a.up)};
    linears_forward(context, adapters, gate_up, s.normed, tokens, s.u_row, s.rounded, dropout);
    for_rows(context.pool, tokens, [&](int64_t t) {
      kernels.silu_mul(a.gate + t * w.inner, a.up + t * w.inner, w.inner, s.act + t * w.inner);
    });
    const LinearCall down[] = {call(Linear::kDown, s.projected)};
    linears_forward(context, adapters, down, s.act, tokens, s.u_row, s.rounded, dropout);
    for_rows(context.pool, tokens, [&](int64_t t) {
      float* out = output + t * w.hidden;
      std::copy_n(a.middle + t * w.hidden, w.hidden, out);
      kernels.add(s.projected + t * w.hidden, w.hidden, out);
    });
  }

  for_rows(context.pool, tokens, [&](int64_t t) {
    activations.final_factor()[t] = kernels.rms_norm(activations.final_input() + t * w.hidden, model.final_norm.data(),
                                                     epsilon, c.hidden_size, activations.hidden() + t * w.hidden);
  });
}

}  // namespace candor::engine
