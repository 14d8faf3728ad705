#include "engine/quantization/quantize_model.h"

#include <array>
#include <cmath>
#include <map>
#include <optional>

#include "base/check.h"
#include "engine/quantization/block_stream.h"
#include "files/gguf_model_writer.h"

namespace candor::engine {

namespace {

using files::ExpectedWeight;

struct Place {
  int64_t layer;
  Linear linear;
};

// Where a weight stands in the model; nothing for embedding, head, norms and biases.
std::optional<Place> place_of(const std::string& name, const files::ModelConfig& config) {
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    if (!name.starts_with(files::layer_prefix(config, layer))) continue;
    for (const Linear linear : linears_of(config))
      if (name == module_path(config, layer, linear) + ".weight") return Place{layer, linear};
  }
  return std::nullopt;
}

std::vector<float> dequantized(const WeightType& type, const std::string& bytes) {
  const int64_t blocks = static_cast<int64_t>(bytes.size()) / type.stored->bytes;
  std::vector<float> values(static_cast<size_t>(blocks * type.stored->values));
  type.stored->dequantize(reinterpret_cast<const uint8_t*>(bytes.data()), blocks, values.data());
  return values;
}

// The matrices of one block after the other, each rounded with what the inputs of its block are once those before it
// have been rounded.
class CalibratedBlocks {
 public:
  static Result<CalibratedBlocks> start(const Context& context, const files::ModelFiles& source,
                                        const QuantizeOptions& options) {
    return CalibratedBlocks(context, source, options, TRY(BlockStream::start(context, source, options.calibration)));
  }

  // The bytes of a whole matrix. Layers are asked for in order.
  Result<const std::string*> bytes(const Place& place) {
    while (layer_ < place.layer) TRY(next_layer());
    CHECK(layer_ == place.layer);
    return &bytes_.at(place.linear);
  }

 private:
  CalibratedBlocks(const Context& context, const files::ModelFiles& source, const QuantizeOptions& options,
                   BlockStream stream)
      : context_(context), source_(source), options_(options), stream_(std::move(stream)) {}

  Result<void> next_layer() {
    ++layer_;
    bytes_.clear();
    auto moments = TRY(stream_.moments(layer_));
    std::array<HessianFactor, kBlockInputs> inputs;
    for (int i = 0; i < kBlockInputs; ++i) inputs[i] = TRY(factor_of(moments[i]));
    BlockStream::Replaced rounded;
    for (const Linear linear : linears_of(source_.config)) {
      if (options_.interrupted && options_.interrupted()) return error("[quantize] interrupted.");
      TRY(round_matrix(linear, inputs[static_cast<int>(input_of(linear))], rounded));
    }
    return stream_.advance(layer_, rounded);
  }

  Result<HessianFactor> factor_of(InputMoments& moments) const {
    auto factor = factor_hessian(context_.pool, moments.sums, moments.width, options_.damping);
    if (factor) return *std::move(factor);
    return error(
        "[quantize] layer {}: the second moments of the calibration inputs cannot be decomposed. Give more text, or a "
        "larger --damping than {}.",
        layer_, options_.damping);
  }

  Result<void> round_matrix(Linear linear, const HessianFactor& inputs, BlockStream::Replaced& rounded) {
    const std::string name = module_path(source_.config, layer_, linear) + ".weight";
    const files::WeightInfo* info = source_.weights->find(name);
    const int64_t rows = info->shape[0], width = info->shape[1];
    if (width % kGroup != 0) return {};
    std::vector<float> w(static_cast<size_t>(rows * width));
    TRY(source_.weights->read_rows(name, 0, rows, w.data()));
    bytes_[linear] = TRY(quantize_rows(context_, options_.type, &inputs, w.data(), rows, width, name, 0));
    rounded[linear] = dequantized(options_.type, bytes_[linear]);
    return {};
  }

  const Context& context_;
  const files::ModelFiles& source_;
  const QuantizeOptions& options_;
  BlockStream stream_;
  int64_t layer_ = -1;
  std::map<Linear, std::string> bytes_;  // of layer_
};

// Makes the tensors of the file and keeps account of them.
class Quantizer {
 public:
  Quantizer(const Context& context, const files::ModelFiles& source, const QuantizeOptions& options)
      : context_(context),
        source_(source),
        options_(options),
        expected_(files::expected_weights(source.config)),
        half_(*find_weight_type("f16")),
        single_(*find_weight_type("f32")) {}

  Result<QuantizeReport> write(const std::filesystem::path& output) {
    std::vector<files::GgufTensorSource> tensors = files::rope_tensors(source_.config);
    for (const ExpectedWeight& weight : expected_) tensors.push_back(tensor(weight));
    const std::vector<files::GgufEntry> entries = TRY(files::gguf_metadata(source_, options_.type.stored->name));
    if (options_.method == QuantizeMethod::kGptq && options_.type.has_grid())
      blocks_.emplace(TRY(CalibratedBlocks::start(context_, source_, options_)));
    TRY(write_file_atomically(output, [&](OutputFile& out) { return files::write_gguf(entries, tensors, out); }));
    for (size_t i = 0; i < report_.weights.size(); ++i)
      report_.weights[i].relative_error = norms_[i] > 0 ? std::sqrt(errors_[i] / norms_[i]) : 0;
    report_.file_bytes = files::gguf_bytes(entries, tensors);
    return std::move(report_);
  }

 private:
  files::GgufTensorSource tensor(const ExpectedWeight& weight) {
    // Learned positions enter no product, and stay as they are, as in llama.cpp.
    const bool matrix = weight.shape.size() == 2 && weight.gguf_name != "position_embd.weight";
    const std::optional<Place> place = matrix ? place_of(weight.name, source_.config) : std::nullopt;
    WeightType type = !matrix ? single_ : place ? options_.type : options_.embedding_type;
    const bool fell_back = type.has_grid() && weight.shape.back() % kGroup != 0;
    if (fell_back) type = half_;
    const int64_t width = weight.shape.size() == 2 ? weight.shape[1] : 1;
    const size_t at = report_.weights.size();
    report_.weights.push_back({weight.name, type, weight.shape[0] * width, 0, 0, fell_back});
    norms_.push_back(0);
    errors_.push_back(0);
    return files::gguf_tensor(
        weight, *type.stored, source_.config.head_dim,
        [this, name = weight.name, type, place, width, at, fell_back](int64_t begin, int64_t end) {
          return rows(name, type, fell_back ? std::nullopt : place, width, at, begin, end);
        });
  }

  // Rows [begin, end) as they are written.
  Result<std::string> rows(const std::string& name, const WeightType& type, const std::optional<Place>& place,
                           int64_t width, size_t at, int64_t begin, int64_t end) {
    if (options_.interrupted && options_.interrupted()) return error("[quantize] interrupted.");
    if (options_.progress && begin == 0)
      options_.progress(static_cast<int64_t>(at), static_cast<int64_t>(expected_.size()));
    std::vector<float> w(static_cast<size_t>((end - begin) * width));
    TRY(source_.weights->read_rows(name, begin, end, w.data()));
    std::string bytes;
    if (place && blocks_) {
      const std::string& whole = *TRY(blocks_->bytes(*place));
      const int64_t row_bytes = width / type.stored->values * type.stored->bytes;
      bytes = whole.substr(static_cast<size_t>(begin * row_bytes), static_cast<size_t>((end - begin) * row_bytes));
    } else {
      bytes = TRY(quantize_rows(context_, type, nullptr, w.data(), end - begin, width, name, begin));
    }
    account(at, w, dequantized(type, bytes), bytes.size());
    return bytes;
  }

  void account(size_t at, const std::vector<float>& w, const std::vector<float>& rounded, size_t bytes) {
    report_.weights[at].bytes += bytes;
    for (size_t i = 0; i < w.size(); ++i) {
      const double off = static_cast<double>(w[i]) - static_cast<double>(rounded[i]);
      norms_[at] += static_cast<double>(w[i]) * static_cast<double>(w[i]);
      errors_[at] += off * off;
    }
  }

  const Context& context_;
  const files::ModelFiles& source_;
  const QuantizeOptions& options_;
  std::vector<ExpectedWeight> expected_;
  WeightType half_, single_;
  std::optional<CalibratedBlocks> blocks_;
  QuantizeReport report_;
  std::vector<double> norms_, errors_;  // squared, by weight
};

}  // namespace

Result<QuantizeReport> quantize_model(const Context& context, const files::ModelFiles& source,
                                      const QuantizeOptions& options, const std::filesystem::path& output) {
  return Quantizer(context, source, options).write(output);
}

}  // namespace candor::engine
