// Weights of a GGUF file, in Hugging Face's names and row order.
#include <algorithm>
#include <set>

#include "base/check.h"
#include "files/weight_names.h"
#include "files/weight_readers.h"

namespace candor::files {

namespace {

class GgufWeights : public WeightReader {
 public:
  GgufWeights(GgufFile file, const std::vector<ExpectedWeight>& expected, int64_t head_dim)
      : file_(std::move(file)), head_dim_(head_dim) {
    for (const ExpectedWeight& weight : expected) {
      const GgufTensor* tensor = file_.find_tensor(weight.gguf_name);
      weights_.push_back({weight.name, std::string(tensor->type->name), weight.shape});
      places_[weight.name] = {tensor, weight.gguf_rows};
    }
  }

  const std::vector<WeightInfo>& weights() const override { return weights_; }

  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    const auto found = places_.find(name);
    CHECK(found != places_.end());
    const auto& [tensor, order] = found->second;
    CHECK(0 <= begin && begin <= end && end <= tensor->shape[0]);
    const int64_t row = tensor->shape.size() == 2 ? tensor->shape[1] : 1;
    // One read for many rows; a permuted tensor's rows are scattered inside a head, so they come one by one.
    const int64_t most = order == RowOrder::kPlain ? std::max<int64_t>(1, kChunk / row) : 1;
    std::vector<uint8_t> raw;
    for (int64_t at = begin; at < end; at += most) {
      const int64_t count = std::min(most, end - at);
      raw.resize(static_cast<size_t>(count * row_bytes(*tensor)));
      TRY(read_stored(*tensor, order, at, count, raw.data()));
      tensor->type->dequantize(raw.data(), count * row / tensor->type->values, out + (at - begin) * row);
    }
    const int64_t bad = first_non_finite(out, (end - begin) * row);
    if (bad >= 0) {
      return error("[{}] weight \"{}\" holds {} in row {}: the file is damaged or the model's training diverged.",
                   file_.path().string(), name, out[bad], begin + bad / row);
    }
    return {};
  }

  const GgufBlockType* block_type(std::string_view name) const override {
    const auto found = places_.find(name);
    CHECK(found != places_.end());
    const GgufBlockType* type = found->second.first->type;
    return type->values == 1 ? nullptr : type;
  }

  Result<void> read_blocks(std::string_view name, int64_t begin, int64_t end, uint8_t* raw) const override {
    const auto found = places_.find(name);
    CHECK(found != places_.end());
    const auto& [tensor, order] = found->second;
    CHECK(0 <= begin && begin <= end && end <= tensor->shape[0] && tensor->type->values > 1);
    if (order == RowOrder::kPlain) return read_stored(*tensor, order, begin, end - begin, raw);
    for (int64_t at = begin; at < end; ++at, raw += row_bytes(*tensor)) TRY(read_stored(*tensor, order, at, 1, raw));
    return {};
  }

 private:
  static constexpr int64_t kChunk = int64_t{1} << 18;  // values read at once: bounds the extra copy

  static int64_t row_bytes(const GgufTensor& tensor) {
    const int64_t row = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
    return row / tensor.type->values * tensor.type->bytes;
  }

  // Rows [at, at + count) in Hugging Face's order; where that is not the file's, count is 1.
  Result<void> read_stored(const GgufTensor& tensor, RowOrder order, int64_t at, int64_t count, uint8_t* raw) const {
    const int64_t stored = order == RowOrder::kPlain ? at : rope_pair_row(at, head_dim_), bytes = row_bytes(tensor);
    return file_.file().read(tensor.offset + static_cast<uint64_t>(stored * bytes), raw,
                             static_cast<size_t>(count * bytes));
  }

  GgufFile file_;
  int64_t head_dim_;
  std::vector<WeightInfo> weights_;
  std::map<std::string, std::pair<const GgufTensor*, RowOrder>, std::less<>> places_;
};

}  // namespace

Result<std::unique_ptr<WeightReader>> open_gguf_weights(GgufFile file, const ModelConfig& config) {
  const std::string path = file.path().string();
  const std::vector<ExpectedWeight> expected = expected_weights(config);
  std::set<std::string_view> names = {"rope_freqs.weight"};  // in the config already
  for (const ExpectedWeight& weight : expected) {
    names.insert(weight.gguf_name);
    const GgufTensor* tensor = file.find_tensor(weight.gguf_name);
    if (tensor == nullptr) return error("[{}] lacks the tensor \"{}\".", path, weight.gguf_name);
    if (tensor->shape != weight.shape) {
      return error("[{}] tensor \"{}\" has the shape [{}]; the metadata asks for [{}].", path, tensor->name,
                   fmt::join(tensor->shape, ", "), fmt::join(weight.shape, ", "));
    }
    if (tensor->type->dequantize == nullptr || (tensor->shape.size() == 1 && tensor->type->values != 1)) {
      return error(
          "[{}] tensor \"{}\" is stored as {}, which is not supported {}: F32, F16, BF16, Q8_0, Q4_0, Q4_1, "
          "Q5_0, Q5_1 and Q2_K to Q6_K are.",
          path, tensor->name, tensor->type->name, tensor->shape.size() == 1 ? "for a vector" : "yet");
    }
  }
  for (const GgufTensor& tensor : file.tensors()) {
    if (names.contains(tensor.name)) continue;
    return error(
        "[{}] holds the tensor \"{}\", which a {} model does not have; it may change the result, so it is not "
        "ignored.",
        path, tensor.name, config.family);
  }
  return std::unique_ptr<WeightReader>(std::make_unique<GgufWeights>(std::move(file), expected, config.head_dim));
}

}  // namespace candor::files
