#include "engine/model_weights.h"

#include <algorithm>

#include "base/check.h"
#include "base/rng.h"
#include "files/weight_names.h"

namespace candor::engine {

namespace {

class InitialWeights : public files::WeightReader {
 public:
  InitialWeights(const files::ModelConfig& config, uint64_t seed, double deviation)
      : seed_(seed), deviation_(deviation) {
    for (files::ExpectedWeight& weight : files::expected_weights(config))
      infos_.push_back({std::move(weight.name), "F32", std::move(weight.shape)});
  }

  const std::vector<files::WeightInfo>& weights() const override { return infos_; }

  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    const files::WeightInfo* info = find(name);
    CHECK(info != nullptr);
    if (info->shape.size() == 1) {
      std::fill_n(out, end - begin, name.ends_with(".bias") ? 0.0f : 1.0f);
      return {};
    }
    constexpr uint32_t kStep = 1;  // adapters draw in step 0 (adapter.cpp)
    const RngKey key{seed_, RngStream::kInitialisation, kStep, static_cast<uint32_t>(info - infos_.data())};
    const int64_t width = info->shape[1];
    for (int64_t i = begin * width; i < end * width; ++i)
      *out++ = static_cast<float>(deviation_ * random_normal(key, static_cast<uint64_t>(i)));
    return {};
  }

 private:
  uint64_t seed_;
  double deviation_;
  std::vector<files::WeightInfo> infos_;
};

class WeightShapes : public files::WeightReader {
 public:
  WeightShapes(const files::ModelConfig& config, const std::string& type) {
    for (files::ExpectedWeight& weight : files::expected_weights(config))
      infos_.push_back({std::move(weight.name), type, std::move(weight.shape)});
  }
  const std::vector<files::WeightInfo>& weights() const override { return infos_; }
  Result<void> read_rows(std::string_view name, int64_t, int64_t, float*) const override {
    return error("[{}] only the shape is known.", name);
  }

 private:
  std::vector<files::WeightInfo> infos_;
};

}  // namespace

ModelWeights::ModelWeights(const Model& model) {
  add("model.embed_tokens.weight", model.embedding);
  for (size_t l = 0; l < model.layers.size(); ++l) {
    const LayerWeights& layer = model.layers[l];
    const std::string prefix = fmt::format("model.layers.{}.", l);
    add(prefix + "input_layernorm.weight", layer.attention_norm, model.config.hidden_size);
    for (int i = 0; i < kLinears; ++i) {
      if (static_cast<Linear>(i) == Linear::kGate)  // in the order of the forward pass
        add(prefix + "post_attention_layernorm.weight", layer.mlp_norm, model.config.hidden_size);
      const PackedMatrix& linear = layer.linears[i];
      const std::string path = module_path(static_cast<int64_t>(l), static_cast<Linear>(i));
      add(path + ".weight", linear);
      if (!linear.bias.empty()) add(path + ".bias", linear.bias, linear.out);
    }
  }
  add("model.norm.weight", model.final_norm, model.config.hidden_size);
  if (model.head) add("lm_head.weight", *model.head);
}

void ModelWeights::add(const std::string& name, const PackedMatrix& matrix) {
  infos_.push_back({name, matrix.data.empty() && !matrix.pairs.empty() ? "BF16" : "F32", {matrix.out, matrix.in}});
  places_[name] = {&matrix, nullptr};
}

void ModelWeights::add(const std::string& name, const Buffer& vector, int64_t size) {
  infos_.push_back({name, "F32", {size}});
  places_[name] = {nullptr, vector.data()};
}

Result<void> ModelWeights::read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const {
  const auto found = places_.find(name);
  CHECK(found != places_.end());
  const auto [matrix, vector] = found->second;
  if (vector != nullptr) {
    std::copy(vector + begin, vector + end, out);
    return {};
  }
  CHECK(0 <= begin && end <= matrix->out);
  for (int64_t row = begin; row < end; ++row, out += matrix->in) matrix->copy_trained_row(row, out);
  return {};
}

std::unique_ptr<files::WeightReader> initial_weights(const files::ModelConfig& config, uint64_t seed,
                                                     double initializer_range) {
  return std::make_unique<InitialWeights>(config, seed, initializer_range);
}

std::unique_ptr<files::WeightReader> weight_shapes(const files::ModelConfig& config, const std::string& type) {
  return std::make_unique<WeightShapes>(config, type);
}

Result<Model> make_model(const Context& context, const files::ModelConfig& config, uint64_t seed,
                         double initializer_range) {
  files::ModelFiles files;
  files.config = config;
  files.weights = initial_weights(config, seed, initializer_range);
  return load_model(context, files);
}

}  // namespace candor::engine
