#include "engine/activations.h"

#include <algorithm>

#include "base/check.h"
#include "engine/rope.h"

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

// Everything that lies in the buffers, and how large those are (in numbers).
struct Layout {
  LayerActivations first{};
  Activations::Scratch scratch{};
  float *final_input = nullptr, *final_factor = nullptr;
  int64_t input_stride = 0, layer_stride = 0;
  int64_t layers = 0, hidden = 0, work = 0, rounded = 0, quantized = 0;
};

struct Sizes {
  const files::ModelConfig& config;
  Dtype dtype;
  int64_t tokens, rank;
  Keep keep;
  int threads;
  bool dora;
};

// With buffers, or without them to learn their sizes.
Layout lay_out(const Sizes& sizes, float* layers, float* hidden_states, float* work_space) {
  const files::ModelConfig& c = sizes.config;
  const int64_t tokens = sizes.tokens, hidden = padded(c.hidden_size), q = padded(c.heads * c.head_dim),
                kv = padded(c.kv_heads * c.head_dim), inner = padded(c.intermediate_size);
  const bool trains = sizes.keep != Keep::kOneLayer;
  Layout at;

  Carver carve{layers};
  at.input_stride = trains ? tokens * hidden : 0;
  at.first.input = carve.take(tokens * hidden);
  carve.used += (trains ? c.layers : 0) * at.input_stride;
  // Without a backward pass the residual stream stays where it is.
  at.final_input = layers == nullptr ? nullptr : layers + c.layers * at.input_stride;
  at.final_factor = carve.take(tokens);
  const int64_t before = carve.used;
  at.first.q = carve.take(tokens * q);
  at.first.attention = carve.take(tokens * q);
  at.first.log_sum = carve.take(tokens * c.heads);
  at.first.middle = carve.take(tokens * hidden);
  if (trains && sizes.dora && !c.fused_qkv) {
    at.first.k = carve.take(tokens * kv);
    at.first.v = carve.take(tokens * kv);
  }
  if (c.mlp == files::MlpKind::kSwiGlu) at.first.gate = carve.take(tokens * inner);
  at.first.up = carve.take(tokens * inner);
  for (const Linear linear : linears_of(c)) at.first.u[static_cast<int>(linear)] = carve.take(tokens * sizes.rank);
  at.first.attention_factor = carve.take(tokens);
  at.first.mlp_factor = carve.take(tokens);
  if (sizes.keep == Keep::kAllLayers) {
    at.layer_stride = carve.used - before;
    carve.used += (c.layers - 1) * at.layer_stride;
  }
  at.layers = carve.used;
  at.hidden = tokens * hidden;

  Carver work{work_space};
  Activations::Scratch& s = at.scratch;
  s.normed = s.projected = s.dh = work.take(tokens * hidden);
  Carver narrow = work;
  s.act = s.dact = work.take(tokens * inner);
  s.dattention = narrow.take(tokens * q);
  if (c.fused_qkv) {
    s.kv_row = padded(c.heads * c.head_dim + 2 * c.kv_heads * c.head_dim);
    s.qkv = narrow.take(tokens * s.kv_row);
    s.k = s.dk = s.qkv == nullptr ? nullptr : s.qkv + c.heads * c.head_dim;
    s.v = s.dv = s.qkv == nullptr ? nullptr : s.k + c.kv_heads * c.head_dim;
  } else {
    s.kv_row = kv;
    s.k = s.dk = narrow.take(tokens * kv);
    s.v = s.dv = narrow.take(tokens * kv);
  }
  if (trains) s.dq = narrow.take(tokens * q);
  work.used = std::max(work.used, narrow.used);
  s.cosine = work.take(tokens * rotated_pairs(c));
  s.sine = work.take(tokens * rotated_pairs(c));
  s.attention = work.take(sizes.threads * attention_scratch_floats(c));
  if (trains) {
    s.dx = hidden_states;
    s.du = work.take(3 * tokens * sizes.rank);
  }
  s.u_row = sizes.rank;
  at.work = work.used;

  const int64_t widest = std::max({hidden, q, inner});
  if (sizes.dtype.activations != Arithmetic::kFloat32)
    at.rounded = tokens * std::max(widest, trains ? std::max(q + 2 * kv, 2 * inner) : 0);
  if (sizes.dtype.activations == Arithmetic::kInt8) at.quantized = tokens * quantized_row_bytes(widest);
  return at;
}

template <typename Number>
void grow(const Context& context, const std::string& role, const char* name, int64_t count,
          NumberBuffer<Number>& buffer) {
  if (buffer.size() >= count) return;
  buffer = NumberBuffer<Number>();  // never both at a time
  buffer = NumberBuffer<Number>(context.ledger, role, name, count);
}

int64_t magnitude_floats(const files::ModelConfig& c, int64_t tokens) {
  const int64_t inner = (c.mlp == files::MlpKind::kSwiGlu ? 2 : 1) * padded(c.intermediate_size);
  return tokens * std::max(inner, c.fused_qkv ? padded((c.heads + 2 * c.kv_heads) * c.head_dim) : 0);
}

}  // namespace

int64_t activation_bytes(const files::ModelConfig& config, Dtype dtype, int64_t tokens, int64_t max_padded_rank,
                         Keep keep, int threads, bool dora) {
  const Layout at = lay_out({config, dtype, tokens, max_padded_rank, keep, threads, dora}, nullptr, nullptr, nullptr);
  const int64_t magnitudes = dora && keep != Keep::kOneLayer ? magnitude_floats(config, tokens) : 0;
  return 4 * (at.layers + at.hidden + at.work + magnitudes) + 2 * at.rounded + at.quantized;
}

Activations::Activations(const Context& context, std::string role, const Model& model, int64_t max_padded_rank,
                         Keep keep, int64_t most_bytes)
    : context_(context),
      role_(std::move(role)),
      config_(model.config),
      dtype_(model.dtype),
      rank_(max_padded_rank),
      keep_(keep),
      kept_(keep),
      most_bytes_(most_bytes) {}

Keep Activations::keep_of(int64_t tokens) const {
  if (keep_ != Keep::kAllLayers) return keep_;
  const int64_t bytes = activation_bytes(config_, dtype_, tokens, rank_, keep_, context_.pool.threads());
  return bytes <= most_bytes_ ? Keep::kAllLayers : Keep::kLayerInputs;
}

void Activations::reserve(int64_t tokens, bool dora) {
  kept_ = keep_of(tokens);
  tokens_ = tokens;
  const Sizes sizes{config_, dtype_, tokens, rank_, kept_, context_.pool.threads(), dora};
  const Layout needed = lay_out(sizes, nullptr, nullptr, nullptr);
  grow(context_, role_, "activations", needed.layers, layers_);
  grow(context_, role_, "hidden states", needed.hidden, hidden_);
  grow(context_, role_, "workspace", needed.work, work_);
  grow(context_, role_, "rounded", needed.rounded, rounded_);
  grow(context_, role_, "quantized", needed.quantized, quantized_);
  Layout at = lay_out(sizes, layers_.data(), hidden_.data(), work_.data());
  at.scratch.rounded.bf16 = rounded_.data();
  at.scratch.rounded.int8 = quantized_.data();
  keeps_kv_ = at.first.k != nullptr;
  if (!keeps_kv_) at.first.k = at.scratch.k, at.first.v = at.scratch.v;
  first_ = at.first;
  scratch_ = at.scratch;
  final_input_ = at.final_input;
  final_factor_ = at.final_factor;
  input_stride_ = at.input_stride;
  layer_stride_ = at.layer_stride;
}

float* Activations::magnitudes() {
  grow(context_, role_, "gradients through magnitudes", magnitude_floats(config_, tokens_), magnitudes_);
  return magnitudes_.data();
}

LayerActivations Activations::layer(int64_t layer) {
  CHECK(!layers_.empty());
  LayerActivations a = first_;
  a.input += layer * input_stride_;
  const int64_t shift = layer * layer_stride_;
  for (float** pointer :
       {&a.q, &a.attention, &a.log_sum, &a.middle, &a.gate, &a.up, &a.attention_factor, &a.mlp_factor})
    if (*pointer != nullptr) *pointer += shift;
  for (float*& u : a.u)
    if (u != nullptr) u += shift;
  if (keeps_kv_) a.k += shift, a.v += shift;
  return a;
}

}  // namespace candor::engine
