#include "engine/model_weights.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/rng.h"
#include "files/weight_names.h"

namespace candor::engine {

namespace {

class InitialWeights : public files::WeightReader {
 public:
  InitialWeights(const files::ModelConfig& config, uint64_t seed, double deviation)
      : seed_(seed), deviation_(deviation), layers_(config.layers) {
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
    // GPT-2's two layers that write to the residual stream.
    const double deviation =
        name.ends_with(".c_proj.weight") ? deviation_ / std::sqrt(2.0 * static_cast<double>(layers_)) : deviation_;
    for (int64_t i = begin * width; i < end * width; ++i)
      *out++ = static_cast<float>(deviation * random_normal(key, static_cast<uint64_t>(i)));
    return {};
  }

 private:
  uint64_t seed_;
  double deviation_;
  int64_t layers_;
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
  const files::ModelConfig& c = model.config;
  const files::ModuleNames& names = files::module_names(c);
  add(fmt::format("{}.weight", names.embedding), model.embedding);
  if (model.positions) add(fmt::format("{}.weight", names.positions), *model.positions);
  for (size_t l = 0; l < model.layers.size(); ++l) {
    const LayerWeights& layer = model.layers[l];
    const auto number = static_cast<int64_t>(l);
    const std::string prefix = files::layer_prefix(c, number);
    add(prefix + std::string(names.attention_norm), layer.attention_norm, c.hidden_size);
    for (const Linear linear : linears_of(c)) {
      if (linear == files::first_of_mlp(c))  // in the order of the forward pass
        add(prefix + std::string(names.mlp_norm), layer.mlp_norm, c.hidden_size);
      const PackedMatrix& matrix = layer[linear];
      const std::string path = module_path(c, number, linear);
      add(path + ".weight", matrix);
      if (!matrix.bias.empty()) add(path + ".bias", matrix.bias, matrix.out);
    }
  }
  add(std::string(names.final_norm), model.final_norm, c.hidden_size);
  if (model.head) add(fmt::format("{}.weight", files::kHeadModule), *model.head);
}

void ModelWeights::add(const std::string& name, const NormWeights& norm, int64_t size) {
  add(name + ".weight", norm.weight, size);
  if (!norm.bias.empty()) add(name + ".bias", norm.bias, size);
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
