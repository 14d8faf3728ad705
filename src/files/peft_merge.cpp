#include "files/peft_merge.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string_view>

#include "files/model_writer.h"
#include "files/peft_pissa.h"
#include "files/weight_names.h"

namespace candor::files {

namespace {

constexpr std::string_view kWeight = ".weight", kHead = "lm_head.weight";

// Row `row` of W, in double, plus that of scale·B·A. Of an embedding W's rows are the columns of B·A.
void add_product(const LoraTensors& pair, double scale, int64_t row, std::vector<double>& sum) {
  const bool embedding = is_adapted_embedding(pair.module);
  for (int64_t j = 0; j < pair.rank; ++j) {
    const double factor = scale * static_cast<double>(embedding ? pair.a[static_cast<size_t>(j * pair.in + row)]
                                                                : pair.b[static_cast<size_t>(row * pair.rank + j)]);
    for (size_t k = 0; k < sum.size(); ++k)
      sum[k] += factor * static_cast<double>(embedding ? pair.b[k * static_cast<size_t>(pair.rank) + j]
                                                       : pair.a[static_cast<size_t>(j * pair.in) + k]);
  }
}

// DoRA: the row in the direction that it has and of the length that was learnt; one without a direction stays zero.
void set_length(double length, std::vector<double>& row) {
  double squares = 0;
  for (const double value : row) squares += value * value;
  const double factor = squares > 0 ? length / std::sqrt(squares) : 0.0;
  for (double& value : row) value *= factor;
}

// DoRA on an embedding scales its columns: m/n of each, with n over the whole vocabulary.
Result<std::vector<double>> column_factors(const TensorSource& weight, const LoraTensors& pair, double scale) {
  const auto width = static_cast<size_t>(weight.shape[1]);
  std::vector<float> values(width);
  std::vector<double> row(width), squares(width);
  for (int64_t at = 0; at < weight.shape[0]; ++at) {
    TRY(weight.read_rows(at, at + 1, values.data()));
    std::copy(values.begin(), values.end(), row.begin());
    add_product(pair, scale, at, row);
    for (size_t k = 0; k < width; ++k) squares[k] += row[k] * row[k];
  }
  for (size_t k = 0; k < width; ++k)
    squares[k] = squares[k] > 0 ? static_cast<double>(pair.magnitude[k]) / std::sqrt(squares[k]) : 0.0;
  return squares;
}

TensorSource merged_embedding(TensorSource weight, const LoraTensors& pair, double scale) {
  const auto factors = std::make_shared<std::vector<double>>();  // made when the first row is asked for
  return {weight.name, weight.shape, [=, &pair](int64_t begin, int64_t end, float* out) -> Result<void> {
            const int64_t width = weight.shape[1];
            if (factors->empty() && !pair.magnitude.empty()) *factors = TRY(column_factors(weight, pair, scale));
            TRY(weight.read_rows(begin, end, out));
            for (int64_t row = begin; row < end; ++row, out += width) {
              std::vector<double> sum(out, out + width);
              add_product(pair, scale, row, sum);
              for (size_t k = 0; k < factors->size(); ++k) sum[k] *= (*factors)[k];
              std::copy(sum.begin(), sum.end(), out);
            }
            return {};
          }};
}

TensorSource merged(TensorSource weight, const LoraTensors& pair, double scale) {
  if (is_adapted_embedding(pair.module)) return merged_embedding(std::move(weight), pair, scale);
  return {weight.name, weight.shape,
          [read = std::move(weight.read_rows), width = weight.shape[1], &pair, scale](int64_t begin, int64_t end,
                                                                                      float* out) -> Result<void> {
            TRY(read(begin, end, out));
            for (int64_t row = begin; row < end; ++row, out += width) {
              std::vector<double> sum(out, out + width);
              add_product(pair, scale, row, sum);
              if (!pair.magnitude.empty())
                set_length(static_cast<double>(pair.magnitude[static_cast<size_t>(row)]), sum);
              std::copy(sum.begin(), sum.end(), out);
            }
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

// A linear layer or embedding of the base that the config names must have its pair in the file.
Result<void> check_targets(const ModelFiles& base, const PeftAdapter& adapter) {
  for (const WeightInfo& weight : base.weights->weights()) {
    if (weight.shape.size() != 2) continue;
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
  if (adapter.config.init == LoraInit::kPissa) {
    const auto plain = std::make_shared<const PeftAdapter>(TRY(plain_lora_of_pissa(base, adapter)));
    std::vector<TensorSource> merged = TRY(merged_weights(base, *plain));
    for (TensorSource& weight : merged)  // which keeps the converted adapter alive
      weight.read_rows = [plain, read = std::move(weight.read_rows)](int64_t begin, int64_t end, float* out) {
        return read(begin, end, out);
      };
    return merged;
  }
  std::vector<TensorSource> weights = weight_sources(*base.weights);
  const std::string embedding_name = fmt::format("{}.weight", module_names(base.config).embedding);
  auto of_vocabulary = [&](const std::string& name) { return name == kHead || name == embedding_name; };
  const bool unties =
      base.config.tied_head && (std::any_of(adapter.saved_weights.begin(), adapter.saved_weights.end(),
                                            [&](const FloatTensor& weight) { return of_vocabulary(weight.name); }) ||
                                std::any_of(adapter.pairs.begin(), adapter.pairs.end(), [&](const LoraTensors& pair) {
                                  return of_vocabulary(pair.module + std::string(kWeight));
                                }));
  if (unties) {
    const auto embedding =
        std::find_if(weights.begin(), weights.end(), [&](auto& w) { return w.name == embedding_name; });
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
    const bool embedding = is_adapted_embedding(pair.module);
    if (weight.shape !=
        (embedding ? std::vector<int64_t>{pair.in, pair.out} : std::vector<int64_t>{pair.out, pair.in})) {
      return other_base(base, fmt::format("the adapter changes {} as [{}, {}], which is {} in the base", pair.module,
                                          pair.out, pair.in, shape_text(weight.shape)));
    }
    weight = merged(std::move(weight), pair, TRY(pair_settings(adapter.config, pair.module)).scale);
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
