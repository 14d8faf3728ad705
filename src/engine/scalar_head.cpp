#include "engine/scalar_head.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/rng.h"

namespace candor::engine {

namespace {

ScalarHead empty_head(const Context& context, const Model& model, const std::string& module, int64_t labels,
                      bool bias) {
  ScalarHead head{module, labels, model.config.hidden_size, {}, {}};
  head.weight = Buffer(context.ledger, "scalar head", module + ".weight", labels * padded(head.width));
  if (bias) head.bias = Buffer(context.ledger, "scalar head", module + ".bias", padded(labels));
  return head;
}

constexpr uint32_t kStep = 2;  // of the initialisation's draws: adapters have 0, whole models 1
enum : uint32_t { kWeightRow, kBiasRow };

// The columns of each of `labels` rows, split over the threads: act(label, begin, end).
template <typename Act>
void for_columns(ThreadPool& pool, int64_t labels, int64_t width, Act act) {
  constexpr int64_t kStretch = 256;
  const int64_t stretches = (width + kStretch - 1) / kStretch;
  pool.run(labels * stretches, [&](int64_t i, int) {
    const int64_t begin = i % stretches * kStretch;
    act(i / stretches, begin, std::min(width, begin + kStretch));
  });
}

}  // namespace

ScalarHead make_score_head(const Context& context, const Model& model, int64_t labels, uint64_t seed, bool bias) {
  ScalarHead head = empty_head(context, model, kScoreHead, labels, bias);
  if (context.ledger.planned()) return head;
  const RngKey key{seed, RngStream::kInitialisation, kStep, kWeightRow};
  for (int64_t i = 0; i < labels * head.width; ++i)
    head.weight[i / head.width * padded(head.width) + i % head.width] =
        static_cast<float>(model.config.initializer_range * random_normal(key, static_cast<uint64_t>(i)));
  return head;
}

ScalarHead make_value_head(const Context& context, const Model& model, uint64_t seed) {
  ScalarHead head = empty_head(context, model, kValueHead, 1, true);
  if (context.ledger.planned()) return head;
  const double bound = 1.0 / std::sqrt(static_cast<double>(head.width));
  auto draw = [&](uint32_t row, int64_t i) {
    const RngKey key{seed, RngStream::kInitialisation, kStep, row};
    return static_cast<float>((2.0 * random_uniform(key, static_cast<uint64_t>(i)) - 1.0) * bound);
  };
  for (int64_t i = 0; i < head.width; ++i) head.weight[i] = draw(kWeightRow, i);
  head.bias[0] = draw(kBiasRow, 0);
  return head;
}

Result<ScalarHead> scalar_head_of(const Context& context, const Model& model, const std::string& module,
                                  std::span<const files::FloatTensor> tensors) {
  auto find = [&](const std::string& name) {
    const auto found =
        std::find_if(tensors.begin(), tensors.end(), [&](const files::FloatTensor& t) { return t.name == name; });
    return found == tensors.end() ? nullptr : &*found;
  };
  const files::FloatTensor *weight = find(module + ".weight"), *bias = find(module + ".bias");
  const int64_t width = model.config.hidden_size;
  if (weight == nullptr) return error("[scalar head] there is no {}.weight.", module);
  if (weight->shape.size() != 2 || weight->shape[0] < 1 || weight->shape[1] != width)
    return error(
        "[scalar head] {} has the shape [{}]; [labels, {}] is expected: it belongs to a model of another width.",
        weight->name, fmt::join(weight->shape, ", "), width);
  const int64_t labels = weight->shape[0];
  if (bias != nullptr && bias->shape != std::vector<int64_t>{labels})
    return error("[scalar head] {} has the shape [{}]; [{}] is expected.", bias->name, fmt::join(bias->shape, ", "),
                 labels);
  for (const files::FloatTensor* tensor : {weight, bias})
    for (size_t i = 0; tensor != nullptr && i < tensor->values.size(); ++i)
      if (!std::isfinite(tensor->values[i]))
        return error(
            "[scalar head] {}: a weight is not finite ({}): the file is damaged, or the training that wrote it "
            "diverged.",
            tensor->name, tensor->values[i]);
  ScalarHead head = empty_head(context, model, module, labels, bias != nullptr);
  if (context.ledger.planned()) return head;
  for (int64_t label = 0; label < labels; ++label)
    std::copy_n(weight->values.data() + label * width, width, head.weight.data() + label * padded(width));
  if (bias != nullptr) std::copy_n(bias->values.data(), labels, head.bias.data());
  return head;
}

Result<ScalarHead> read_score_head(const Context& context, const Model& model, const files::ModelFiles& files) {
  CHECK(files.config.labels > 0);
  if (context.ledger.planned()) return empty_head(context, model, kScoreHead, files.config.labels, false);
  files::FloatTensor weight{"score.weight", {files.config.labels, files.config.hidden_size}, {}};
  weight.values.resize(static_cast<size_t>(weight.shape[0] * weight.shape[1]));
  TRY(files.weights->read_rows(weight.name, 0, weight.shape[0], weight.values.data()));
  return scalar_head_of(context, model, kScoreHead, {&weight, 1});
}

std::vector<files::FloatTensor> scalar_head_tensors(const ScalarHead& head) {
  std::vector<files::FloatTensor> tensors;
  files::FloatTensor& weight = tensors.emplace_back();
  weight.name = head.module + ".weight";
  weight.shape = {head.labels, head.width};
  for (int64_t label = 0; label < head.labels; ++label) {
    const float* from = head.weight.data() + label * padded(head.width);
    weight.values.insert(weight.values.end(), from, from + head.width);
  }
  if (head.bias.empty()) return tensors;
  tensors.push_back({head.module + ".bias", {head.labels}, {head.bias.data(), head.bias.data() + head.labels}});
  return tensors;
}

std::vector<float> scalar_head_forward(const Context& context, const ScalarHead& head, const float* hidden,
                                       std::span<const int64_t> rows) {
  std::vector<float> values(rows.size() * static_cast<size_t>(head.labels));
  const int64_t width = padded(head.width);
  context.pool.run(static_cast<int64_t>(values.size()), [&](int64_t i, int) {
    const int64_t label = i % head.labels;
    const float *h = hidden + rows[i / head.labels] * width, *w = head.weight.data() + label * width;
    double sum = 0;
    for (int64_t k = 0; k < head.width; ++k) sum += static_cast<double>(w[k]) * static_cast<double>(h[k]);
    if (!head.bias.empty()) sum += static_cast<double>(head.bias[label]);
    values[i] = static_cast<float>(sum);
  });
  return values;
}

void scalar_head_backward(const Context& context, const ScalarHead& head, const float* hidden,
                          std::span<const int64_t> rows, std::span<const float> dvalues, float* dhidden, float* dweight,
                          float* dbias) {
  CHECK(dvalues.size() == rows.size() * static_cast<size_t>(head.labels));
  const int64_t width = padded(head.width), count = static_cast<int64_t>(rows.size());
  for_columns(context.pool, 1, width, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t row = 0; row < count; ++row)
      for (int64_t label = 0; label < head.labels; ++label) {
        const float d = dvalues[row * head.labels + label], *w = head.weight.data() + label * width;
        for (int64_t k = begin; k < end; ++k) dhidden[rows[row] * width + k] += d * w[k];
      }
  });
  if (dweight != nullptr)
    for_columns(context.pool, head.labels, width, [&](int64_t label, int64_t begin, int64_t end) {
      for (int64_t row = 0; row < count; ++row) {
        const float d = dvalues[row * head.labels + label], *h = hidden + rows[row] * width;
        for (int64_t k = begin; k < end; ++k) dweight[label * width + k] += d * h[k];
      }
    });
  if (dbias != nullptr)
    for (int64_t row = 0; row < count; ++row)
      for (int64_t label = 0; label < head.labels; ++label) dbias[label] += dvalues[row * head.labels + label];
}

}  // namespace candor::engine
