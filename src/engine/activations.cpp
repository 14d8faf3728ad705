#include <algorithm>

#include "base/check.h"
#include "engine/forward.h"

namespace candor::engine {

namespace {

// Hands out consecutive stretches of a buffer; without a buffer it only counts.
struct Carver {
  float* base;
  int64_t used = 0;
  float* take(int64_t floats) {
    float* at = base == nullptr ? nullptr : base + used;
    used += padded(floats);
    return at;
  }
};

}  // namespace

Activations::Activations(const Context& context, std::string role, const Model& model, int64_t max_padded_rank,
                         Keep keep)
    : context_(context),
      role_(std::move(role)),
      config_(model.config),
      dtype_(model.dtype),
      rank_(max_padded_rank),
      keep_(keep) {}

void Activations::reserve(int64_t tokens) {
  if (tokens <= capacity_) return;
  layers_ = Buffer();
  hidden_ = Buffer();
  work_ = Buffer();
  rounded_ = Bf16Buffer();
  capacity_ = tokens;
  lay_out(tokens);
}

void Activations::lay_out(int64_t tokens) {
  const files::ModelConfig& c = config_;
  const int64_t hidden = padded(c.hidden_size), q = padded(c.heads * c.head_dim), kv = padded(c.kv_heads * c.head_dim),
                inner = padded(c.intermediate_size);
  auto layer = [&](float* base) {
    Carver carve{base};
    first_.input = carve.take(tokens * hidden);
    first_.q = carve.take(tokens * q);
    first_.attention = carve.take(tokens * q);
    first_.log_sum = carve.take(tokens * c.heads);
    first_.middle = carve.take(tokens * hidden);
    first_.gate = carve.take(tokens * inner);
    first_.up = carve.take(tokens * inner);
    for (float*& u : first_.u) u = carve.take(tokens * rank_);
    first_.attention_factor = carve.take(tokens);
    first_.mlp_factor = carve.take(tokens);
    return carve.used;
  };
  const int64_t layer_floats = layer(nullptr);
  const bool all = keep_ == Keep::kAllLayers;
  layer_stride_ = all ? layer_floats : 0;
  const int64_t layer_count = all ? c.layers : 1;
  layers_ =
      Buffer(context_.ledger, role_, "activations", layer_floats * layer_count + tokens * hidden + padded(tokens));
  layer(layers_.data());
  // Without a backward pass the layers share one stretch: the last layer's output is the stretch's input again.
  final_input_ = all ? layers_.data() + layer_floats * layer_count : first_.input;
  final_factor_ = layers_.data() + layer_floats * layer_count + tokens * hidden;
  hidden_ = Buffer(context_.ledger, role_, "hidden states", tokens * hidden);

  auto work = [&](float* base) {
    Carver carve{base};
    Scratch& s = scratch_;
    s.normed = carve.take(tokens * hidden);
    s.k = carve.take(tokens * kv);
    s.v = carve.take(tokens * kv);
    s.projected = carve.take(tokens * hidden);
    s.act = carve.take(tokens * inner);
    s.cosine = carve.take(tokens * (c.head_dim / 2));
    s.sine = carve.take(tokens * (c.head_dim / 2));
    s.attention = carve.take(context_.pool.threads() * attention_scratch_floats(c));
    if (!all) return carve.used;
    s.dx = carve.take(tokens * hidden);
    s.dh = carve.take(tokens * hidden);
    s.dq = carve.take(tokens * q);
    s.dk = carve.take(tokens * kv);
    s.dv = carve.take(tokens * kv);
    s.dattention = carve.take(tokens * q);
    s.dgate = carve.take(tokens * inner);
    s.dup = carve.take(tokens * inner);
    s.dact = carve.take(tokens * inner);
    s.du = carve.take(3 * tokens * rank_);
    return carve.used;
  };
  work_ = Buffer(context_.ledger, role_, "workspace", work(nullptr));
  work(work_.data());
  scratch_.u_row = rank_;
  if (dtype_ == Dtype::kFloat32) return;
  const int64_t x = std::max({hidden, q, inner}), dy = all ? std::max(q + 2 * kv, 2 * inner) : 0;
  rounded_ = Bf16Buffer(context_.ledger, role_, "rounded", tokens * std::max(x, dy));
  scratch_.rounded.bf16 = rounded_.data();
}

LayerActivations Activations::layer(int64_t layer) {
  CHECK(capacity_ > 0);
  const int64_t shift = layer * layer_stride_;
  LayerActivations a = first_;
  for (float** pointer :
       {&a.input, &a.q, &a.attention, &a.log_sum, &a.middle, &a.gate, &a.up, &a.attention_factor, &a.mlp_factor})
    *pointer += shift;
  for (float*& u : a.u) u += shift;
  return a;
}

}  // namespace candor::engine
