#include "engine/quantization/block_stream.h"

#include <algorithm>
#include <span>

#include "base/check.h"
#include "engine/kernels/parallel.h"
#include "engine/matrix_products.h"
#include "engine/mlp.h"
#include "engine/norm.h"
#include "engine/sequence_pass.h"
#include "files/weight_names.h"

namespace candor::engine {

namespace {

constexpr int64_t kStretchTokens = 1024;  // run together

// One block of a model, with the residual stream for its embedding: no positions are added, and the final norm neither
// stretches nor shifts.
class BlockWeights : public files::WeightReader {
 public:
  BlockWeights(const files::ModelFiles& files, const files::ModelConfig& block, int64_t layer,
               const std::vector<float>& residual, const BlockStream::Replaced& replaced)
      : files_(files),
        prefix_(files::layer_prefix(block, layer)),
        first_(files::layer_prefix(block, 0)),
        residual_(residual) {
    for (files::ExpectedWeight& weight : files::expected_weights(block)) {
      const files::WeightInfo* stored = files.weights->find(of_layer(weight.name));
      infos_.push_back({weight.name, stored == nullptr ? "F32" : stored->type, std::move(weight.shape)});
    }
    for (const auto& [linear, values] : replaced) replaced_[module_path(block, 0, linear) + ".weight"] = &values;
  }

  const std::vector<files::WeightInfo>& weights() const override { return infos_; }

  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    const files::WeightInfo* info = find(name);
    CHECK(info != nullptr);
    const int64_t row = info->shape.size() == 2 ? info->shape[1] : 1;
    const auto found = replaced_.find(name);
    if (found != replaced_.end() || info == &infos_.front()) {
      const std::vector<float>& values = found != replaced_.end() ? *found->second : residual_;
      std::copy(values.begin() + begin * row, values.begin() + end * row, out);
      return {};
    }
    if (name.starts_with(first_)) return files_.weights->read_rows(of_layer(name), begin, end, out);
    const bool norm = info->shape.size() == 1 && name.ends_with(".weight");
    std::fill_n(out, (end - begin) * row, norm ? 1.0f : 0.0f);
    return {};
  }

 private:
  // The name that a weight of the block has in the model.
  std::string of_layer(std::string_view name) const {
    return name.starts_with(first_) ? prefix_ + std::string(name.substr(first_.size())) : std::string(name);
  }

  const files::ModelFiles& files_;
  std::string prefix_, first_;
  const std::vector<float>& residual_;
  std::vector<files::WeightInfo> infos_;
  std::map<std::string, const std::vector<float>*, std::less<>> replaced_;
};

// Runs stretches of whole sequences through a block and hands each one's activations to `ready`, in order.
template <typename Ready>
void run_block(const Context& context, const Model& block, std::span<const std::vector<int32_t>> sequences,
               Ready ready) {
  SequencePass pass(context, "calibration", block, Activations::Keep::kAllLayers);
  while (!sequences.empty()) {
    const auto stretch = sequences.first(sequences_for_pass(sequences, kStretchTokens));
    int64_t tokens = 0;
    for (const std::vector<int32_t>& sequence : stretch) tokens += static_cast<int64_t>(sequence.size());
    ready(pass.forward(stretch), tokens);
    sequences = sequences.subspan(stretch.size());
  }
}

// XᵀX, stretch by stretch.
class MomentSum {
 public:
  MomentSum(const Context& context, int64_t width)
      : context_(context),
        stretch_(context.ledger, "calibration", "moments", padded(width) * padded(width)),
        moments_{width, std::vector<double>(static_cast<size_t>(width * width))} {}

  // x: [rows, padded(width)]
  void add(const float* x, int64_t rows) {
    const int64_t width = moments_.width, stride = padded(width);
    const Matmul product = {.a = x,
                            .a_row = 1,
                            .a_k = stride,
                            .b = x,
                            .b_k = stride,
                            .b_panel = kPanel,
                            .c = stretch_.data(),
                            .c_row = stride,
                            .rows = width,
                            .panels = stride / kPanel,
                            .depth = rows};
    run_matmuls(context_.pool, context_.kernels, {&product, 1});
    for_rows(context_.pool, width, [&](int64_t i) {
      for (int64_t j = 0; j < width; ++j) moments_.sums[i * width + j] += static_cast<double>(stretch_[i * stride + j]);
    });
  }

  InputMoments take() { return std::move(moments_); }

 private:
  const Context& context_;
  Buffer stretch_;
  InputMoments moments_;
};

}  // namespace

BlockInput input_of(Linear linear) {
  switch (linear) {
    case Linear::kQ:
    case Linear::kK:
    case Linear::kV:
    case Linear::kQkv:
      return BlockInput::kAttention;
    case Linear::kO:
      return BlockInput::kOutput;
    case Linear::kGate:
    case Linear::kUp:
      return BlockInput::kMlp;
    case Linear::kDown:
      return BlockInput::kDown;
  }
  CHECK(false);
}

Result<BlockStream> BlockStream::start(const Context& context, const files::ModelFiles& files,
                                       std::vector<std::vector<int32_t>> sequences) {
  BlockStream stream(context, files);
  const int64_t hidden = files.config.hidden_size;
  const files::ModuleNames& names = files::module_names(files.config);
  const std::string embedding = fmt::format("{}.weight", names.embedding),
                    positions = fmt::format("{}.weight", names.positions);
  std::vector<float> position(static_cast<size_t>(hidden));
  for (std::vector<int32_t>& sequence : sequences) {
    CHECK(!sequence.empty() && static_cast<int64_t>(sequence.size()) <= files.config.max_positions);
    for (size_t at = 0; at < sequence.size(); ++at) {
      int32_t& id = sequence[at];
      CHECK(0 <= id && id < files.config.vocab_size);
      stream.residual_.resize(stream.residual_.size() + static_cast<size_t>(hidden));
      float* to = stream.residual_.data() + stream.tokens_ * hidden;
      TRY(files.weights->read_rows(embedding, id, id + 1, to));
      if (files.config.rope.type == files::RopeType::kNone) {
        const auto place = static_cast<int64_t>(at);
        TRY(files.weights->read_rows(positions, place, place + 1, position.data()));
        for (int64_t k = 0; k < hidden; ++k) to[k] += position[static_cast<size_t>(k)];
      }
      id = static_cast<int32_t>(stream.tokens_++);
    }
  }
  stream.sequences_ = std::move(sequences);
  return stream;
}

Result<Model> BlockStream::load_block(int64_t layer, const Replaced& replaced) const {
  files::ModelFiles block;
  block.path = files_->path;
  block.config = files_->config;
  block.config.layers = 1;
  block.config.vocab_size = tokens_;
  block.config.tied_head = true;
  block.config.labels = 0;
  block.weights = std::make_unique<BlockWeights>(*files_, block.config, layer, residual_, replaced);
  return load_model(*context_, block, Dtype::kFloat32);
}

Result<std::array<InputMoments, kBlockInputs>> BlockStream::moments(int64_t layer) const {
  const Model block = TRY(load_block(layer, {}));
  const files::ModelConfig& c = block.config;
  const Kernels& kernels = context_->kernels;
  const int64_t hidden = padded(c.hidden_size), inner = padded(c.intermediate_size);
  const auto epsilon = static_cast<float>(c.norm_eps);
  MomentSum attention(*context_, c.hidden_size), output(*context_, c.heads * c.head_dim), mlp(*context_, c.hidden_size),
      down(*context_, c.intermediate_size);
  std::vector<float> x;
  run_block(*context_, block, std::span(sequences_), [&](Activations& activations, int64_t tokens) {
    const LayerActivations a = activations.layer(0);
    auto normed = [&](const float* from, const NormWeights& norm) {
      x.assign(static_cast<size_t>(tokens * hidden), 0.0f);
      for_rows(context_->pool, tokens, [&](int64_t t) {
        norm_row(kernels, from + t * hidden, norm, epsilon, c.hidden_size, x.data() + t * hidden);
      });
      return x.data();
    };
    attention.add(normed(a.input, block.layers[0].attention_norm), tokens);
    output.add(a.attention, tokens);
    mlp.add(normed(a.middle, block.layers[0].mlp_norm), tokens);
    x.assign(static_cast<size_t>(tokens * inner), 0.0f);
    for_rows(context_->pool, tokens, [&](int64_t t) { activate_token(kernels, a, inner, t, x.data() + t * inner); });
    down.add(x.data(), tokens);
  });
  return std::array{attention.take(), output.take(), mlp.take(), down.take()};
}

Result<void> BlockStream::advance(int64_t layer, const Replaced& replaced) {
  const Model block = TRY(load_block(layer, replaced));
  const int64_t hidden = block.config.hidden_size;
  float* to = residual_.data();
  run_block(*context_, block, std::span(sequences_), [&](Activations& activations, int64_t tokens) {
    for (int64_t t = 0; t < tokens; ++t, to += hidden)
      std::copy_n(activations.final_input() + t * padded(hidden), hidden, to);
  });
  if (files::first_non_finite(residual_.data(), static_cast<int64_t>(residual_.size())) >= 0)
    return error("[quantize] layer {}: the calibration text gives hidden states that are not finite.", layer);
  return {};
}

}  // namespace candor::engine
