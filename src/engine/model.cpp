#include "engine/model.h"

#include <atomic>

#include "base/check.h"

namespace candor::engine {

namespace {

// Packs one matrix, panels split over the threads. On an error the one of the first panel is returned, whatever thread
// met it first.
Result<PackedMatrix> pack(const Context& context, const files::WeightReader& weights, const std::string& name,
                          int64_t out, int64_t in) {
  PackedMatrix matrix{out, in, Buffer(context.ledger, "weights", name, padded(out) * padded(in)), {}};
  std::mutex mutex;
  std::optional<std::pair<int64_t, Error>> failure;
  context.pool.run(matrix.panels(), [&](int64_t panel, int) {
    const int64_t begin = panel * kPanel, end = std::min(begin + kPanel, out);
    std::vector<float> rows(static_cast<size_t>((end - begin) * in));
    if (auto read = weights.read_rows(name, begin, end, rows.data()); !read) {
      std::lock_guard lock(mutex);
      if (!failure || panel < failure->first) failure = {panel, read.error()};
      return;
    }
    float* to = matrix.data.data() + panel * matrix.panel_size();
    for (int64_t row = begin; row < end; ++row)
      for (int64_t k = 0; k < in; ++k) to[k * kPanel + row - begin] = rows[(row - begin) * in + k];
  });
  if (failure) return failure->second;
  return matrix;
}

Result<Buffer> read_vector(const Context& context, const files::WeightReader& weights, const std::string& name,
                           int64_t n) {
  Buffer buffer(context.ledger, "weights", name, padded(n));
  TRY(weights.read_rows(name, 0, n, buffer.data()));
  return buffer;
}

struct Shape {
  int64_t out, in;
  bool bias;
};

Shape linear_shape(const files::ModelConfig& c, Linear linear) {
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  switch (linear) {
    case Linear::kQ:
      return {q, c.hidden_size, c.attention_bias};
    case Linear::kK:
    case Linear::kV:
      return {kv, c.hidden_size, c.attention_bias};
    case Linear::kO:
      return {c.hidden_size, q, c.attention_bias};
    case Linear::kGate:
    case Linear::kUp:
      return {c.intermediate_size, c.hidden_size, c.mlp_bias};
    case Linear::kDown:
      return {c.hidden_size, c.intermediate_size, c.mlp_bias};
  }
  CHECK(false);
}

}  // namespace

std::string module_path(int64_t layer, Linear linear) {
  return fmt::format("model.layers.{}.{}", layer, kLinearNames[static_cast<int>(linear)]);
}

void PackedMatrix::copy_row(int64_t row, float* to) const {
  const float* from = data.data() + row / kPanel * panel_size() + row % kPanel;
  for (int64_t k = 0; k < in; ++k) to[k] = from[k * kPanel];
}

Result<Model> load_model(const Context& context, const files::ModelFiles& files) {
  const files::ModelConfig& c = files.config;
  const files::WeightReader& weights = *files.weights;
  Model model;
  model.config = c;
  model.embedding = TRY(pack(context, weights, "model.embed_tokens.weight", c.vocab_size, c.hidden_size));
  if (!c.tied_head) model.head = TRY(pack(context, weights, "lm_head.weight", c.vocab_size, c.hidden_size));
  model.final_norm = TRY(read_vector(context, weights, "model.norm.weight", c.hidden_size));
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    LayerWeights& w = model.layers.emplace_back();
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    w.attention_norm = TRY(read_vector(context, weights, prefix + "input_layernorm.weight", c.hidden_size));
    w.mlp_norm = TRY(read_vector(context, weights, prefix + "post_attention_layernorm.weight", c.hidden_size));
    for (int i = 0; i < kLinears; ++i) {
      const auto [out, in, bias] = linear_shape(c, static_cast<Linear>(i));
      const std::string path = module_path(layer, static_cast<Linear>(i));
      w.linears[i] = TRY(pack(context, weights, path + ".weight", out, in));
      if (bias) w.linears[i].bias = TRY(read_vector(context, weights, path + ".bias", out));
    }
  }
  return model;
}

}  // namespace candor::engine
