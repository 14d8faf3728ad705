#include "engine/forward.h"

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "engine/embedding.h"
#include "engine/mlp.h"
#include "engine/norm.h"

namespace candor::engine {

namespace {

struct Widths {
  int64_t hidden, inner;
};

Widths widths_of(const files::ModelConfig& c) {
  return {padded(c.hidden_size), padded(c.intermediate_size)};
}

void compute_angles(const Context& context, const Rope& rope, const TokenBatch& batch, const Activations::Scratch& s) {
  const auto half = static_cast<int64_t>(rope.frequencies.size());
  for_rows(context.pool, batch.tokens(),
           [&](int64_t t) { rope_angles(rope, batch.positions[t], s.cosine + t * half, s.sine + t * half); });
}

// Takes q out of qkv, where they are one, rotates q and k, and stores keys and values in their pages; then each
// completion copies what its first page shares with its prompt's last one.
void store_keys(const Context& context, const files::ModelConfig& c, const TokenBatch& batch, KvPool& kv, int64_t layer,
                const LayerActivations& a, const Activations::Scratch& s) {
  const int64_t pairs = rotated_pairs(c), width = c.heads * c.head_dim, row = padded(width);
  for_rows(context.pool, batch.tokens(), [&](int64_t t) {
    float *q = a.q + t * row, *k = a.k + t * s.kv_row;
    if (s.qkv != nullptr) {
      std::copy_n(s.qkv + t * s.kv_row, width, q);
      std::fill(q + width, q + row, 0.0f);
    }
    if (pairs > 0) {
      const float *cosine = s.cosine + t * pairs, *sine = s.sine + t * pairs;
      context.kernels.rope(q, cosine, sine, c.heads, c.head_dim, 1.0f);
      context.kernels.rope(k, cosine, sine, c.kv_heads, c.head_dim, 1.0f);
    }
    const int64_t position = batch.positions[t];
    const int32_t page = batch.segments[batch.segment_of[t]].pages[position / kPageTokens];
    kv.store(page, layer, position, k, a.v + t * s.kv_row);
  });
  const auto straddles = [](const Segment& segment) { return segment.straddled_page >= 0; };
  if (std::none_of(batch.segments.begin(), batch.segments.end(), straddles)) return;
  const auto own_page = [](const Segment& segment) { return segment.pages[segment.position / kPageTokens]; };
  const auto copy = [&](const Segment& segment) {
    if (!straddles(segment)) return;
    kv.copy_slots(segment.straddled_page, own_page(segment), layer, segment.position % kPageTokens);
  };
  // A copy of a copy waits for it: branches of branches (continuations.h) stand behind what they branch off.
  std::vector<int32_t> copies;
  for (const Segment& segment : batch.segments)
    if (straddles(segment)) copies.push_back(own_page(segment));
  std::sort(copies.begin(), copies.end());
  const bool chained = std::any_of(batch.segments.begin(), batch.segments.end(), [&](const Segment& segment) {
    return straddles(segment) && std::binary_search(copies.begin(), copies.end(), segment.straddled_page);
  });
  if (chained) {
    for (const Segment& segment : batch.segments) copy(segment);
    return;
  }
  for_rows(context.pool, static_cast<int64_t>(batch.segments.size()), [&](int64_t i) { copy(batch.segments[i]); });
}

// A norm of every token: from `x` by `weights` to `y`, and 1/rms.
struct Norm {
  const float* x;
  const NormWeights* weights;
  float *y, *factor;
};

// What the passes below have in common.
struct Pass {
  const Context& context;
  const Model& model;
  std::span<const AdapterRange> adapters;
  const TokenBatch& batch;
  KvPool& kv;
  Activations& activations;
  const Dropout* dropout;
  std::span<const HiddenRange> doors = {};
  const files::ModelConfig& c = model.config;
  const Widths w = widths_of(c);
  const Activations::Scratch& s = activations.scratch();
  const int64_t tokens = batch.tokens();

  Norm attention_norm(int64_t layer) const {
    const LayerActivations a = activations.layer(layer);
    return {a.input, &model.layers[layer].attention_norm, s.normed, a.attention_factor};
  }
  Norm final_norm() const {
    return {activations.final_input(), &model.final_norm, activations.hidden(), activations.final_factor()};
  }

  void norm_token(const Norm& norm, int64_t t) const {
    norm.factor[t] = norm_row(context.kernels, norm.x + t * w.hidden, *norm.weights, static_cast<float>(c.norm_eps),
                              c.hidden_size, norm.y + t * w.hidden);
  }
  // The doors of a token behind `layer` layers.
  void pass_doors(int64_t layer, int64_t t, float* h) const {
    for (const HiddenRange& range : doors)
      if (t >= range.begin && t < range.end)
        for (const HiddenDoor& door : range.doors)
          if (door.layer == layer)
            door.act({t, batch.positions[t], batch.ids[t]}, {h, static_cast<size_t>(c.hidden_size)});
  }
  // to = from + what a block computed, and its norm. layer: where `to` is the layer's output, the layers so far.
  void add_projected(const float* from, float* to, const Norm& norm, std::optional<int64_t> layer = {}) const {
    for_rows(context.pool, tokens, [&](int64_t t) {
      float* sum = to + t * w.hidden;
      if (to != from) std::copy_n(from + t * w.hidden, w.hidden, sum);
      context.kernels.add(s.projected + t * w.hidden, w.hidden, sum);
      if (layer) pass_doors(*layer, t, sum);
      norm_token(norm, t);
    });
  }

  // From s.normed, the norm of its input, to what the layer adds to its middle: in s.projected, or with `again` only
  // what the backward pass needs.
  void layer(int64_t layer, bool again) const {
    const LayerWeights& weights = model.layers[layer];
    const LayerActivations a = activations.layer(layer);
    auto call = [&](Linear linear, float* y) {
      return LinearCall{&weights[linear], layer, linear, y, a.u[static_cast<int>(linear)]};
    };
    const LinearCall split[] = {call(Linear::kQ, a.q), call(Linear::kK, a.k), call(Linear::kV, a.v)};
    const LinearCall fused[] = {call(Linear::kQkv, s.qkv)};
    linears_forward(context, adapters, c.fused_qkv ? std::span<const LinearCall>(fused) : split, s.normed, tokens,
                    s.u_row, s.rounded, dropout);
    store_keys(context, c, batch, kv, layer, a, s);
    attention_forward(context, c, batch, kv, layer, {a.q, a.attention, a.log_sum}, s.attention);
    const LinearCall o[] = {call(Linear::kO, s.projected)};
    linears_forward(context, adapters, o, a.attention, tokens, s.u_row, s.rounded, dropout);
    add_projected(a.input, a.middle, {a.middle, &weights.mlp_norm, s.normed, a.mlp_factor});

    const LinearCall gate_up[] = {call(Linear::kGate, a.gate), call(Linear::kUp, a.up)};
    linears_forward(context, adapters, std::span(gate_up).subspan(a.gate == nullptr ? 1 : 0), s.normed, tokens, s.u_row,
                    s.rounded, dropout);
    const bool adapted = std::any_of(adapters.begin(), adapters.end(),
                                     [](const AdapterRange& range) { return range.adapter != nullptr; });
    const LinearCall down[] = {call(Linear::kDown, again ? nullptr : s.projected)};
    if (again && !adapted) return;
    for_rows(context.pool, tokens,
             [&](int64_t t) { activate_token(context.kernels, a, w.inner, t, s.act + t * w.inner); });
    linears_forward(context, adapters, down, s.act, tokens, s.u_row, s.rounded, dropout);
  }
};

}  // namespace

void layer_again(const Context& context, const Model& model, std::span<const AdapterRange> adapters,
                 const TokenBatch& batch, KvPool& kv, int64_t layer, Activations& activations, const Dropout* dropout) {
  const Pass pass{context, model, adapters, batch, kv, activations, dropout};
  const Norm norm = pass.attention_norm(layer);
  for_rows(context.pool, batch.tokens(), [&](int64_t t) { pass.norm_token(norm, t); });
  pass.layer(layer, true);
}

void forward(const Context& context, const Model& model, const Rope& rope, std::span<const AdapterRange> adapters,
             const TokenBatch& batch, KvPool& kv, Activations& activations, const Dropout* dropout,
             std::span<const HiddenRange> doors) {
  const files::ModelConfig& c = model.config;
  for (const HiddenRange& range : doors)
    for (const HiddenDoor& door : range.doors) {
      CHECK(door.layer >= 0 && door.layer <= c.layers);
      if (door.begin) door.begin(batch.tokens(), c.hidden_size);
    }
  activations.reserve(batch.tokens(), std::any_of(adapters.begin(), adapters.end(), [](const AdapterRange& range) {
                        return range.adapter != nullptr && range.adapter->config.use_dora;
                      }));
  const Pass pass{context, model, adapters, batch, kv, activations, dropout, doors};
  compute_angles(context, rope, batch, pass.s);
  float* u = activations.layer(0).u[static_cast<int>(linears_of(c).front())];
  embed(context, model, adapters, batch, activations.layer(0).input, u, pass.s.u_row);
  const Norm first = pass.attention_norm(0);
  for_rows(context.pool, batch.tokens(), [&](int64_t t) {
    pass.pass_doors(0, t, activations.layer(0).input + t * pass.w.hidden);
    pass.norm_token(first, t);
  });
  for (int64_t l = 0; l < c.layers; ++l) {
    pass.layer(l, false);
    const Norm next = l + 1 < c.layers ? pass.attention_norm(l + 1) : pass.final_norm();
    float* output = l + 1 < c.layers ? activations.layer(l + 1).input : activations.final_input();
    pass.add_projected(activations.layer(l).middle, output, next, l + 1);
  }
}

}  // namespace candor::engine
