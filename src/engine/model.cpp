#include "engine/model.h"

#include <algorithm>

#include "base/check.h"
#include "files/base_fingerprint.h"

namespace candor::engine {

namespace {

Result<Buffer> read_vector(const Context& context, const files::WeightReader& weights, const std::string& name,
                           int64_t n) {
  Buffer buffer(context.ledger, "weights", name, padded(n));
  if (!context.ledger.planned()) TRY(weights.read_rows(name, 0, n, buffer.data()));
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
      return {c.hidden_size, q, c.output_bias};
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

namespace {

// act(name, matrix) for every matrix, by its name in the files.
template <typename Act>
Result<void> each_matrix(Model& model, Act act) {
  TRY(act("model.embed_tokens.weight", model.embedding));
  if (model.head) TRY(act("lm_head.weight", *model.head));
  for (size_t layer = 0; layer < model.layers.size(); ++layer)
    for (int i = 0; i < kLinears; ++i)
      TRY(act(module_path(static_cast<int64_t>(layer), static_cast<Linear>(i)) + ".weight",
              model.layers[layer].linears[i]));
  return {};
}

}  // namespace

Result<void> add_master_weights(const Context& context, const files::ModelFiles& files, Model& model) {
  if (model.dtype != Dtype::kBfloat16) return {};
  return each_matrix(model, [&](const std::string& name, PackedMatrix& matrix) -> Result<void> {
    PackedMatrix read = TRY(pack_matrix(context, *files.weights, name, matrix.out, matrix.in, Dtype::kFloat32));
    matrix.data = std::move(read.data);
    return {};
  });
}

void round_master_weights(const Context& context, Model& model) {
  auto round = [&](const std::string&, PackedMatrix& matrix) -> Result<void> {
    round_master_weights(context, matrix);
    return {};
  };
  CHECK(each_matrix(model, round));
}

Result<Model> load_model(const Context& context, const files::ModelFiles& files, std::optional<Dtype> dtype) {
  if (files.config.labels > 0)
    return error(
        "[{}] is a sequence classifier: it scores text, and has no language head to read or write it with. Use it as a "
        "reward model.",
        files.path.string());
  return load_body(context, files, dtype);
}

Result<Model> load_body(const Context& context, const files::ModelFiles& files, std::optional<Dtype> dtype) {
  const files::ModelConfig& c = files.config;
  const files::WeightReader& weights = *files.weights;
  Model model;
  model.config = c;
  if (!context.ledger.planned()) model.fingerprint = TRY(files::base_fingerprint(files));
  model.dtype = dtype ? *dtype : TRY(choose_dtype("", "", files, context.kernels));
  auto matrix = [&](const std::string& name, int64_t out, int64_t in) {
    return pack_matrix(context, weights, name, out, in, model.dtype);
  };
  model.embedding = TRY(matrix("model.embed_tokens.weight", c.vocab_size, c.hidden_size));
  if (!c.tied_head && c.labels == 0) model.head = TRY(matrix("lm_head.weight", c.vocab_size, c.hidden_size));
  model.final_norm = TRY(read_vector(context, weights, "model.norm.weight", c.hidden_size));
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    LayerWeights& w = model.layers.emplace_back();
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    w.attention_norm = TRY(read_vector(context, weights, prefix + "input_layernorm.weight", c.hidden_size));
    w.mlp_norm = TRY(read_vector(context, weights, prefix + "post_attention_layernorm.weight", c.hidden_size));
    for (int i = 0; i < kLinears; ++i) {
      const auto [out, in, bias] = linear_shape(c, static_cast<Linear>(i));
      const std::string path = module_path(layer, static_cast<Linear>(i));
      w.linears[i] = TRY(matrix(path + ".weight", out, in));
      if (bias) w.linears[i].bias = TRY(read_vector(context, weights, path + ".bias", out));
    }
  }
  return model;
}

}  // namespace candor::engine
