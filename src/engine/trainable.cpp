#include "engine/trainable.h"

#include <algorithm>

#include "base/check.h"

namespace candor::engine {

namespace {

void append(Trainable& trainable, std::string name, float* values, int64_t size, bool decay,
            ParameterGroup group = ParameterGroup::kOther) {
  trainable.tensors.push_back({std::move(name), values, size, trainable.floats, decay, group});
  trainable.floats += size;
}

// Behind all other tensors.
void append_scalar_head(Trainable& trainable, ScalarHead* head) {
  if (head == nullptr) return;
  const std::string prefix = trainable.model == nullptr ? "base_model.model." : "";
  trainable.weights.scalar_weight = trainable.floats;
  append(trainable, prefix + head->module + ".weight", head->weight.data(), head->weight.size(), true);
  trainable.parameters += head->labels * head->width;
  if (head->bias.empty()) return;
  trainable.weights.scalar_bias = trainable.floats;
  append(trainable, prefix + head->module + ".bias", head->bias.data(), head->bias.size(), false);
  trainable.parameters += head->labels;
}

}  // namespace

Trainable trainable_of(ScalarHead& scalar_head) {
  Trainable trainable;
  append_scalar_head(trainable, &scalar_head);
  trainable.gradient_floats = trainable.floats;
  return trainable;
}

Trainable trainable_of(Adapter& adapter, ScalarHead* scalar_head) {
  Trainable trainable;
  trainable.adapter = &adapter;
  for (const LoraPair& pair : adapter.pairs) {
    const std::string path = "base_model.model." + pair.module;
    const bool embedding = pair.site == Site::kEmbedding;
    append(trainable, path + (embedding ? ".lora_embedding_A" : ".lora_A.weight"),
           adapter.parameters.data() + pair.a_offset, pair.a_size(), true,
           embedding ? ParameterGroup::kEmbeddingPair : ParameterGroup::kOther);
    append(trainable, path + (embedding ? ".lora_embedding_B" : ".lora_B.weight"),
           adapter.parameters.data() + pair.b_offset, pair.b_size(), true,
           embedding ? ParameterGroup::kEmbeddingPair : ParameterGroup::kB);
    if (pair.dora())
      append(trainable, path + ".lora_magnitude_vector", adapter.parameters.data() + pair.magnitude_offset,
             padded(pair.out), true, ParameterGroup::kB);
  }
  auto whole = [&](std::string_view module, std::optional<PackedMatrix>& copy, int64_t& offset) {
    if (!copy) return;
    offset = trainable.floats;
    append(trainable, fmt::format("base_model.model.{}.weight", module), copy->data.data(), copy->data.size(), true);
  };
  whole(adapter.embedding_module, adapter.saved.embedding, trainable.weights.embedding);
  whole(files::kHeadModule, adapter.saved.head, trainable.weights.head);
  trainable.weights.layers.resize(adapter.index.size());
  trainable.parameters = adapter.trainable;
  append_scalar_head(trainable, scalar_head);
  trainable.gradient_floats = trainable.floats;
  return trainable;
}

Result<void> check_full_training(const Model& model) {
  if (!model.dtype.quantized() && !model.embedding.data.empty()) return {};
  return error(
      "[full fine-tuning] the model's weights are held in {}: training all of them needs float32. Set dtype to "
      "float32, or train an adapter.",
      dtype_name(model.dtype));
}

Trainable trainable_of(Model& model, ScalarHead* scalar_head) {
  CHECK(!model.embedding.data.empty());
  Trainable trainable;
  trainable.model = &model;
  WeightOffsets& at = trainable.weights;
  auto matrix = [&](const std::string& name, PackedMatrix& m) {
    const int64_t offset = trainable.floats;
    append(trainable, name, m.data.data(), m.data.size(), true);
    trainable.parameters += m.out * m.in;
    return offset;
  };
  auto vector = [&](const std::string& name, Buffer& v, int64_t size) {
    const int64_t offset = trainable.floats;
    append(trainable, name, v.data(), v.size(), false);
    trainable.parameters += size;
    return offset;
  };
  const files::ModelConfig& c = model.config;
  const files::ModuleNames& names = files::module_names(c);
  auto norm = [&](const std::string& name, NormWeights& n, int64_t& weight, int64_t& bias) {
    weight = vector(name + ".weight", n.weight, c.hidden_size);
    if (!n.bias.empty()) bias = vector(name + ".bias", n.bias, c.hidden_size);
  };
  at.embedding = matrix(fmt::format("{}.weight", names.embedding), model.embedding);
  if (model.positions) at.positions = matrix(fmt::format("{}.weight", names.positions), *model.positions);
  at.layers.resize(model.layers.size());
  for (size_t l = 0; l < model.layers.size(); ++l) {
    LayerWeights& layer = model.layers[l];
    WeightOffsets::Layer& of_layer = at.layers[l];
    const auto number = static_cast<int64_t>(l);
    for (const Linear each : linears_of(c)) {
      const int i = static_cast<int>(each);
      const std::string path = module_path(c, number, each);
      PackedMatrix& linear = layer.linears[i];
      of_layer.weight[i] = matrix(path + ".weight", linear);
      if (!linear.bias.empty()) of_layer.bias[i] = vector(path + ".bias", linear.bias, linear.out);
    }
    const std::string prefix = files::layer_prefix(c, number);
    norm(prefix + std::string(names.attention_norm), layer.attention_norm, of_layer.attention_norm,
         of_layer.attention_norm_bias);
    norm(prefix + std::string(names.mlp_norm), layer.mlp_norm, of_layer.mlp_norm, of_layer.mlp_norm_bias);
  }
  norm(std::string(names.final_norm), model.final_norm, at.final_norm, at.final_norm_bias);
  if (model.head) at.head = matrix(fmt::format("{}.weight", files::kHeadModule), *model.head);
  append_scalar_head(trainable, scalar_head);
  trainable.gradient_floats = trainable.floats;
  if (!model.head && model.config.labels == 0) {
    at.head = at.embedding;
    at.embedding = trainable.floats;
    trainable.gradient_floats += model.embedding.data.size();
  }
  return trainable;
}

void add_tied_gradients(const Context& context, const Trainable& trainable, float* gradients) {
  constexpr int64_t kChunk = 1 << 16;
  const int64_t size = trainable.gradient_floats - trainable.floats;
  context.pool.run((size + kChunk - 1) / kChunk, [&](int64_t chunk, int) {
    const int64_t first = chunk * kChunk;
    context.kernels.add(gradients + trainable.weights.embedding + first, std::min(kChunk, size - first),
                        gradients + trainable.weights.head + first);
  });
}

}  // namespace candor::engine
