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

// An RMS norm's weight, or a LayerNorm's with its bias.
Result<NormWeights> read_norm(const Context& context, const files::ModelFiles& files, const std::string& name) {
  const int64_t n = files.config.hidden_size;
  NormWeights norm;
  norm.weight = TRY(read_vector(context, *files.weights, name + ".weight", n));
  if (files.config.layer_norm) norm.bias = TRY(read_vector(context, *files.weights, name + ".bias", n));
  return norm;
}

// act(name, matrix) for every matrix, by its name in the files.
template <typename Act>
Result<void> each_matrix(Model& model, Act act) {
  const files::ModuleNames& names = files::module_names(model.config);
  TRY(act(fmt::format("{}.weight", names.embedding), model.embedding));
  if (model.positions) TRY(act(fmt::format("{}.weight", names.positions), *model.positions));
  if (model.head) TRY(act(fmt::format("{}.weight", files::kHeadModule), *model.head));
  for (size_t layer = 0; layer < model.layers.size(); ++layer)
    for (const Linear linear : linears_of(model.config))
      TRY(act(module_path(model.config, static_cast<int64_t>(layer), linear) + ".weight",
              model.layers[layer].linears[static_cast<int>(linear)]));
  return {};
}

// A matrix that lies the other way on disk, read at once: a panel by itself would need a piece of every row.
class TurnedMatrix : public files::WeightReader {
 public:
  static Result<TurnedMatrix> read(const files::WeightReader& weights, const std::string& name) {
    const files::WeightInfo& info = *weights.find(name);
    TurnedMatrix matrix;
    matrix.infos_ = {info};
    matrix.values_.resize(static_cast<size_t>(info.shape[0] * info.shape[1]));
    TRY(weights.read_rows(name, 0, info.shape[0], matrix.values_.data()));
    return matrix;
  }
  const std::vector<files::WeightInfo>& weights() const override { return infos_; }
  Result<void> read_rows(std::string_view, int64_t begin, int64_t end, float* out) const override {
    const int64_t width = infos_.front().shape[1];
    std::copy_n(values_.data() + begin * width, (end - begin) * width, out);
    return {};
  }

 private:
  std::vector<files::WeightInfo> infos_;
  std::vector<float> values_;
};

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
  const files::ModuleNames& names = files::module_names(c);
  auto matrix = [&](std::string_view name, int64_t out, int64_t in) {
    return pack_matrix(context, weights, fmt::format("{}.weight", name), out, in, model.dtype);
  };
  model.embedding = TRY(matrix(names.embedding, c.vocab_size, c.hidden_size));
  if (c.rope.type == files::RopeType::kNone) {
    // They enter no product: a quantized model keeps them in float32, as llama.cpp does.
    const Dtype dtype_of_positions = model.dtype.quantized() ? Dtype::kFloat32 : model.dtype;
    model.positions = TRY(pack_matrix(context, weights, fmt::format("{}.weight", names.positions), c.max_positions,
                                      c.hidden_size, dtype_of_positions));
  }
  if (!c.tied_head && c.labels == 0) model.head = TRY(matrix(files::kHeadModule, c.vocab_size, c.hidden_size));
  model.final_norm = TRY(read_norm(context, files, std::string(names.final_norm)));
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    LayerWeights& w = model.layers.emplace_back();
    const std::string prefix = files::layer_prefix(c, layer);
    w.attention_norm = TRY(read_norm(context, files, prefix + std::string(names.attention_norm)));
    w.mlp_norm = TRY(read_norm(context, files, prefix + std::string(names.mlp_norm)));
    for (const Linear linear : linears_of(c)) {
      const files::LinearShape shape = files::linear_shape(c, linear);
      const std::string path = module_path(c, layer, linear);
      PackedMatrix& packed = w.linears[static_cast<int>(linear)];
      if (c.transposed && files.format == "safetensors" && !context.ledger.planned()) {
        const TurnedMatrix turned = TRY(TurnedMatrix::read(weights, path + ".weight"));
        packed = TRY(pack_matrix(context, turned, path + ".weight", shape.out, shape.in, model.dtype));
      } else {
        packed = TRY(matrix(path, shape.out, shape.in));
      }
      if (shape.bias) packed.bias = TRY(read_vector(context, weights, path + ".bias", shape.out));
    }
  }
  return model;
}

}  // namespace candor::engine
