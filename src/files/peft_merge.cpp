#include "files/peft_merge.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "files/model_writer.h"

namespace candor::files {

namespace {

constexpr std::string_view kWeight = ".weight", kHead = "lm_head.weight", kEmbedding = "model.embed_tokens.weight";

// Rows [begin, end) of W + scale·B·A, in place of those of W.
void add_product(const LoraTensors& pair, double scale, int64_t begin, int64_t end, float* rows) {
  std::vector<double> sum(static_cast<size_t>(pair.in));
  for (int64_t row = begin; row < end; ++row, rows += pair.in) {
    std::fill(sum.begin(), sum.end(), 0.0);
    for (int64_t j = 0; j < pair.rank; ++j) {
      const double b = scale * static_cast<double>(pair.b[static_cast<size_t>(row * pair.rank + j)]);
      const float* a = pair.a.data() + j * pair.in;
      for (int64_t k = 0; k < pair.in; ++k) sum[static_cast<size_t>(k)] += b * static_cast<double>(a[k]);
    }
    for (int64_t k = 0; k < pair.in; ++k)
      rows[k] = static_cast<float>(static_cast<double>(rows[k]) + sum[static_cast<size_t>(k)]);
  }
}

TensorSource merged(TensorSource weight, const LoraTensors& pair, double scale) {
  return {weight.name, weight.shape,
          [read = std::move(weight.read_rows), &pair, scale](int64_t begin, int64_t end, float* out) -> Result<void> {
            TRY(read(begin, end, out));
            add_product(pair, scale, begin, end, out);
            return {};
          }};
}

TensorSource whole(const FloatTensor& weight) {
  return {weight.name, weight.shape, [&weight](int64_t begin, int64_t end, float* out) -> Result<void> {
            const int64_t row = weight.shape.size() == 2 ? weight.shape[1] : 1;
            std::copy_n(weight.values.data() + begin * row, (end - begin) * row, out);
            return {};
          }};
}

Error other_base(const ModelFiles& base, const std::string& what) {
  return error("[adapter] {}: it was made for another base model than {}.", what, base.path.string());
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// A linear layer of the base that the config names must have its pair in the file.
Result<void> check_targets(const ModelFiles& base, const PeftAdapter& adapter) {
  for (const WeightInfo& weight : base.weights->weights()) {
    if (weight.shape.size() != 2 || weight.name == kEmbedding) continue;
    const std::string module = weight.name.substr(0, weight.name.size() - kWeight.size());
    const bool held = std::any_of(adapter.pairs.begin(), adapter.pairs.end(),
                                  [&](const LoraTensors& pair) { return pair.module == module; });
    if (held || !TRY(target_matches(adapter.config, module))) continue;
    return other_base(base,
                      fmt::format("adapter_config.json targets {}, and the adapter holds nothing for it", module));
  }
  return {};
}

}  // namespace

Result<std::vector<TensorSource>> merged_weights(const ModelFiles& base, const PeftAdapter& adapter) {
  TRY(check_targets(base, adapter));
  std::vector<TensorSource> weights = weight_sources(*base.weights);
  const bool unties = base.config.tied_head && !adapter.saved_weights.empty() &&
                      std::any_of(adapter.saved_weights.begin(), adapter.saved_weights.end(),
                                  [](const FloatTensor& w) { return w.name == kHead || w.name == kEmbedding; });
  if (unties) {
    const auto embedding = std::find_if(weights.begin(), weights.end(), [](auto& w) { return w.name == kEmbedding; });
    TensorSource head = *embedding;
    head.name = kHead;
    weights.push_back(std::move(head));
  }
  std::map<std::string, TensorSource*> by_name;  // by copies of the names: the sources below them are replaced
  for (TensorSource& weight : weights) by_name[weight.name] = &weight;

  for (const LoraTensors& pair : adapter.pairs) {
    const auto found = by_name.find(pair.module + std::string(kWeight));
    if (found == by_name.end())
      return other_base(base, fmt::format("the adapter changes {}, which the base lacks", pair.module));
    TensorSource& weight = *found->second;
    if (weight.shape != std::vector<int64_t>{pair.out, pair.in}) {
      return other_base(base, fmt::format("the adapter changes {} as [{}, {}], which is {} in the base", pair.module,
                                          pair.out, pair.in, shape_text(weight.shape)));
    }
    weight = merged(std::move(weight), pair, lora_scale(adapter.config));
  }
  for (const FloatTensor& saved : adapter.saved_weights) {
    const auto found = by_name.find(saved.name);
    if (found == by_name.end())
      return other_base(base, fmt::format("modules_to_save holds {}, which the base lacks", saved.name));
    if (found->second->shape != saved.shape) {
      return other_base(base, fmt::format("modules_to_save holds {} as {}, which is {} in the base", saved.name,
                                          shape_text(saved.shape), shape_text(found->second->shape)));
    }
    *found->second = whole(saved);
  }
  return weights;
}

}  // namespace candor::files
