// Reads the legacy file of llama2.c (karpathy/llama2.c, "version 0" of its export.py) for tests on its small trained
// models: a real model with real text behind it. Not a format that the program reads.
//
// Layout, little-endian: int32 dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len (vocab_size is
// negative where the head is not tied), then float32: embedding, and for all layers together attention norms, q, k, v,
// o, feed-forward norms, w1 (gate), w2 (down), w3 (up), then the last norm, two rotary tables, and the head if untied.
// q and k are for rotary pairs (2i, 2i + 1); here they are brought into Hugging Face's order (i, i + d/2).
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/input_file.h"
#include "files/model_files.h"
#include "files/weight_names.h"

namespace candor::testing {

// Weights held in memory.
class MemoryWeights : public files::WeightReader {
 public:
  void add(const std::string& name, std::vector<int64_t> shape, std::vector<float> values) {
    infos_.push_back({name, "F32", std::move(shape)});
    values_[name] = std::move(values);
  }
  const std::vector<files::WeightInfo>& weights() const override { return infos_; }
  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    const files::WeightInfo* info = find(name);
    const int64_t row = info->shape.size() == 2 ? info->shape[1] : 1;
    const std::vector<float>& values = values_.find(name)->second;
    std::copy(values.begin() + begin * row, values.begin() + end * row, out);
    return {};
  }

 private:
  std::vector<files::WeightInfo> infos_;
  std::map<std::string, std::vector<float>, std::less<>> values_;
};

inline Result<files::ModelFiles> open_llama2c(const std::filesystem::path& path) {
  const std::string bytes = TRY(read_file(path, uint64_t{1} << 30));
  int32_t header[7];
  if (bytes.size() < sizeof(header)) return error("[{}] is too short.", path.string());
  std::memcpy(header, bytes.data(), sizeof(header));
  files::ModelFiles model;
  model.path = path;
  model.format = "llama2.c";
  files::ModelConfig& c = model.config;
  c.family = "llama";
  c.hidden_size = header[0];
  c.intermediate_size = header[1];
  c.layers = header[2];
  c.heads = header[3];
  c.kv_heads = header[4];
  c.tied_head = header[5] > 0;
  c.vocab_size = std::abs(header[5]);
  c.max_positions = header[6];
  c.head_dim = c.hidden_size / c.heads;
  c.norm_eps = 1e-5;
  c.bos_id = 1;
  c.eos_ids = {2};

  auto weights = std::make_unique<MemoryWeights>();
  size_t at = sizeof(header);
  bool enough = true;
  auto take = [&](int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    enough = enough && at + values.size() * 4 <= bytes.size();
    if (enough) std::memcpy(values.data(), bytes.data() + at, values.size() * 4);
    at += values.size() * 4;
    return values;
  };
  auto unpermute = [&](const std::vector<float>& stored, int64_t rows, int64_t row_size) {
    std::vector<float> values(stored.size());
    for (int64_t row = 0; row < rows; ++row) {
      const auto from = stored.begin() + files::rope_pair_row(row, c.head_dim) * row_size;
      std::copy(from, from + row_size, values.begin() + row * row_size);
    }
    return values;
  };
  auto each_layer = [&](const char* name, std::vector<int64_t> shape, bool permuted) {
    const int64_t row = shape.size() == 2 ? shape[1] : 1;
    for (int64_t layer = 0; layer < c.layers; ++layer) {
      std::vector<float> values = take(shape[0] * row);
      if (permuted) values = unpermute(values, shape[0], row);
      weights->add(fmt::format("model.layers.{}.{}.weight", layer, name), shape, std::move(values));
    }
  };
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  weights->add("model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, take(c.vocab_size * c.hidden_size));
  each_layer("input_layernorm", {c.hidden_size}, false);
  each_layer("self_attn.q_proj", {q, c.hidden_size}, true);
  each_layer("self_attn.k_proj", {kv, c.hidden_size}, true);
  each_layer("self_attn.v_proj", {kv, c.hidden_size}, false);
  each_layer("self_attn.o_proj", {c.hidden_size, q}, false);
  each_layer("post_attention_layernorm", {c.hidden_size}, false);
  each_layer("mlp.gate_proj", {c.intermediate_size, c.hidden_size}, false);
  each_layer("mlp.down_proj", {c.hidden_size, c.intermediate_size}, false);
  each_layer("mlp.up_proj", {c.intermediate_size, c.hidden_size}, false);
  weights->add("model.norm.weight", {c.hidden_size}, take(c.hidden_size));
  take(c.max_positions * c.head_dim);  // cos and sin
  if (!c.tied_head) weights->add("lm_head.weight", {c.vocab_size, c.hidden_size}, take(c.vocab_size * c.hidden_size));
  if (!enough || at != bytes.size()) {
    return error("[{}] has {} bytes; its header asks for {}.", path.string(), bytes.size(), at);
  }
  model.weights = std::move(weights);
  return model;
}

}  // namespace candor::testing
