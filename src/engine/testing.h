// For tests: a small model with random weights that needs no file, and the shortest way to run a model.
#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "engine/kernels/test_numbers.h"
#include "engine/model.h"
#include "engine/policy_pass.h"

namespace candor::engine::testing {

// Weights drawn from a seed; norms near 1.
class RandomWeights : public files::WeightReader {
 public:
  explicit RandomWeights(uint64_t seed) : seed_(seed) {}
  void add(const std::string& name, std::vector<int64_t> shape, double spread, double centre = 0.0) {
    infos_.push_back({name, "F32", shape});
    drawn_[name] = {shape.size() == 2 ? shape[1] : 1, spread, centre, static_cast<uint32_t>(infos_.size())};
  }
  const std::vector<files::WeightInfo>& weights() const override { return infos_; }
  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    const Drawn& d = drawn_.at(std::string(name));
    const RngKey key{seed_, RngStream::kData, 0, d.number};
    for (int64_t i = begin * d.width; i < end * d.width; ++i)
      *out++ = static_cast<float>(d.centre + d.spread * (2.0 * random_uniform(key, static_cast<uint64_t>(i)) - 1.0));
    return {};
  }

 private:
  struct Drawn {
    int64_t width;
    double spread, centre;
    uint32_t number;
  };
  uint64_t seed_;
  std::vector<files::WeightInfo> infos_;
  std::map<std::string, Drawn> drawn_;
};

inline files::ModelConfig tiny_config() {
  files::ModelConfig c;
  c.family = "llama";
  c.hidden_size = 40;  // not a multiple of 16
  c.intermediate_size = 72;
  c.layers = 3;
  c.heads = 6;
  c.kv_heads = 2;
  c.head_dim = 12;
  c.vocab_size = 1100;  // three vocabulary blocks, the last one short
  c.max_positions = 256;
  c.norm_eps = 1e-5;
  c.eos_ids = {1};
  return c;
}

// The same in the shape of GPT-2.
inline files::ModelConfig tiny_gpt2_config() {
  files::ModelConfig c = tiny_config();
  c.family = "gpt2";
  c.heads = c.kv_heads = 5;
  c.head_dim = 8;
  c.tied_head = c.attention_bias = c.output_bias = c.mlp_bias = true;
  c.fused_qkv = c.layer_norm = true;
  c.mlp = files::MlpKind::kGelu;
  c.rope.type = files::RopeType::kNone;
  return c;
}

inline files::ModelFiles random_gpt2_files(const files::ModelConfig& c, uint64_t seed) {
  auto weights = std::make_unique<RandomWeights>(seed);
  for (const files::ExpectedWeight& weight : files::expected_weights(c)) {
    const bool vector = weight.shape.size() == 1, bias = weight.name.ends_with(".bias");
    const double narrow = 1.5 / std::sqrt(static_cast<double>(weight.shape.back()));
    const double spread = vector ? 0.2 : weight.name.ends_with("e.weight") ? 1.0 : narrow;  // wte and wpe
    weights->add(weight.name, weight.shape, spread, vector && !bias ? 1.0 : 0.0);
  }
  files::ModelFiles files;
  files.path = "random";
  files.format = "safetensors";
  files.config = c;
  files.weights = std::move(weights);
  return files;
}

inline files::ModelFiles random_model_files(const files::ModelConfig& c, uint64_t seed) {
  if (c.family == "gpt2") return random_gpt2_files(c, seed);
  auto weights = std::make_unique<RandomWeights>(seed);
  const double spread = 1.5 / std::sqrt(static_cast<double>(c.hidden_size));
  weights->add("model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, 1.0);
  if (!c.tied_head) weights->add("lm_head.weight", {c.vocab_size, c.hidden_size}, 3 * spread);
  weights->add("model.norm.weight", {c.hidden_size}, 0.2, 1.0);
  for (int64_t l = 0; l < c.layers; ++l) {
    const std::string prefix = fmt::format("model.layers.{}.", l);
    const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    weights->add(prefix + "input_layernorm.weight", {c.hidden_size}, 0.2, 1.0);
    weights->add(prefix + "post_attention_layernorm.weight", {c.hidden_size}, 0.2, 1.0);
    weights->add(prefix + "self_attn.q_proj.weight", {q, c.hidden_size}, 2 * spread);
    weights->add(prefix + "self_attn.k_proj.weight", {kv, c.hidden_size}, 2 * spread);
    weights->add(prefix + "self_attn.v_proj.weight", {kv, c.hidden_size}, spread);
    weights->add(prefix + "self_attn.o_proj.weight", {c.hidden_size, q}, spread);
    weights->add(prefix + "mlp.gate_proj.weight", {c.intermediate_size, c.hidden_size}, spread);
    weights->add(prefix + "mlp.up_proj.weight", {c.intermediate_size, c.hidden_size}, spread);
    weights->add(prefix + "mlp.down_proj.weight", {c.hidden_size, c.intermediate_size}, spread);
    auto bias = [&](const char* name, int64_t size) { weights->add(prefix + name + ".bias", {size}, 0.2); };
    if (c.attention_bias) {
      bias("self_attn.q_proj", q);
      bias("self_attn.k_proj", kv);
      bias("self_attn.v_proj", kv);
    }
    if (c.output_bias) bias("self_attn.o_proj", c.hidden_size);
    if (c.mlp_bias) {
      bias("mlp.gate_proj", c.intermediate_size);
      bias("mlp.up_proj", c.intermediate_size);
      bias("mlp.down_proj", c.hidden_size);
    }
  }
  files::ModelFiles files;
  files.path = "random";
  files.format = "safetensors";
  files.config = c;
  files.weights = std::move(weights);
  return files;
}

// Everything a test needs to run a model, at one kernel level, thread count and dtype.
struct Bench {
  explicit Bench(int threads = 2, std::string_view level = "", Dtype model_dtype = Dtype::kFloat32)
      : dtype(model_dtype), pool(threads) {
    auto kernels = select_kernels(level);
    context = std::make_unique<Context>(Context{**kernels, pool, ledger});
  }
  Model load(const files::ModelFiles& files) { return std::move(load_model(*context, files, dtype)).value(); }
  Model random_model(uint64_t seed = 1, const files::ModelConfig& c = tiny_config()) {
    return load(random_model_files(c, seed));
  }
  // All seven linear layers; B is drawn too, so that the adapter does something, and DoRA's magnitudes are moved.
  Adapter random_adapter(const Model& model, int64_t rank = 4, uint64_t seed = 7, bool dora = false) {
    files::LoraConfig config;
    config.use_dora = dora;
    config.r = rank;
    config.alpha = 2.0 * static_cast<double>(rank);
    config.target_modules = {"all-linear"};
    Adapter adapter = std::move(make_adapter(*context, model, config, seed)).value();
    for (size_t i = 0; i < adapter.pairs.size(); ++i) {
      const LoraPair& pair = adapter.pairs[i];
      for (int64_t row = 0; row < pair.out; ++row)
        for (int64_t k = 0; k < pair.rank; ++k)
          adapter.parameters[pair.b_offset + row * padded(pair.rank) + k] = static_cast<float>(
              0.1 *
              (2.0 * random_uniform({seed, RngStream::kData, 1, static_cast<uint32_t>(i)}, row * pair.rank + k) - 1));
    }
    for (const LoraPair& pair : adapter.pairs)
      for (int64_t i = 0; dora && i < pair.out; ++i)  // off the norms, with which they begin
        adapter.parameters[pair.magnitude_offset + i] *= 1.0f + 0.03f * static_cast<float>(i % 11 - 5);
    pack_adapter(*context, adapter);
    return adapter;
  }

  Dtype dtype;
  MemoryLedger ledger;
  ThreadPool pool;
  std::unique_ptr<Context> context;
};

// float32, bfloat16; int8, int4, blocks, with _bfloat16 or _float32 where activations are that.
inline Dtype dtype_of(std::string_view name) {
  if (name == "float32") return Dtype::kFloat32;
  if (name == "bfloat16") return Dtype::kBfloat16;
  const WeightKind weights = name.starts_with("int8")   ? WeightKind::kInt8
                             : name.starts_with("int4") ? WeightKind::kInt4
                                                        : WeightKind::kBlocks;
  return {weights, name.ends_with("_float32")    ? Arithmetic::kFloat32
                   : name.ends_with("_bfloat16") ? Arithmetic::kBfloat16
                                                 : Arithmetic::kInt8};
}

// The kernel levels that this machine has.
inline std::vector<std::string> level_names() {
  std::vector<std::string> names;
  for (const Kernels* level : levels()) names.emplace_back(level->name);
  return names;
}

// Token ids of a sequence, from a seed.
inline std::vector<int32_t> random_ids(int64_t count, int64_t vocabulary, uint32_t row) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<int32_t>(
        random_below({99, RngStream::kData, 2, row}, static_cast<uint64_t>(i), static_cast<uint64_t>(vocabulary))));
  return ids;
}

}  // namespace candor::engine::testing
