// The GGUF side of hf_config.h.
#include <algorithm>
#include <cmath>

#include "base/math.h"
#include "files/config_check.h"
#include "files/hf_config.h"

namespace candor::files {

namespace {

Result<int64_t> required_integer(const GgufFile& file, const std::string& key) {
  const std::optional<int64_t> value = TRY(file.integer(key));
  if (!value) return error("[{}] has no metadata key \"{}\".", file.path().string(), key);
  return *value;
}

// A number, or an array that repeats one number for every layer.
Result<std::optional<int64_t>> per_layer_integer(const GgufFile& file, const std::string& key) {
  const GgufValue* value = file.find_value(key);
  if (value == nullptr || !std::holds_alternative<GgufArray>(*value)) return file.integer(key);
  const std::optional<std::vector<int64_t>> items = std::get<GgufArray>(*value).integers();
  if (!items || items->empty() ||
      std::any_of(items->begin(), items->end(), [&](int64_t i) { return i != items->front(); })) {
    return error("[{}] metadata key \"{}\" differs between layers, which is not supported yet.", file.path().string(),
                 key);
  }
  return std::optional(items->front());
}

Result<std::vector<float>> rope_divisors(const GgufFile& file, int64_t head_dim) {
  std::vector<float> divisors;
  const GgufTensor* tensor = file.find_tensor("rope_freqs.weight");
  if (tensor == nullptr) return divisors;
  const std::string name = file.path().string();
  if (tensor->type->name != "F32" || tensor->shape != std::vector<int64_t>{head_dim / 2}) {
    return error("[{}] rope_freqs.weight is not a vector of {} F32 values.", name, head_dim / 2);
  }
  divisors.resize(static_cast<size_t>(head_dim / 2));
  TRY(file.file().read(tensor->offset, divisors.data(), tensor->bytes));
  for (const float divisor : divisors) {
    if (!(divisor > 0) || !std::isfinite(divisor)) {
      return error("[{}] rope_freqs.weight holds {}; positive numbers are expected.", name, divisor);
    }
  }
  return divisors;
}

Result<RopeConfig> rope_from_gguf(const GgufFile& file, const ModelConfig& config) {
  const std::string name = file.path().string(), at = config.family + ".";
  RopeConfig rope;
  rope.theta = TRY(file.number(at + "rope.freq_base"))
  .value_or(10000.0);
  const int64_t dimensions = TRY(file.integer(at + "rope.dimension_count"))
  .value_or(config.head_dim);
  if (dimensions != config.head_dim) {
    return error("[{}] {}rope.dimension_count {} differs from the head width {}, which is not supported yet.", name, at,
                 dimensions, config.head_dim);
  }
  rope.frequency_divisors = TRY(rope_divisors(file, config.head_dim));
  const std::optional<double> old_factor = TRY(file.number(at + "rope.scale_linear"));
  std::string type = TRY(file.string(at + "rope.scaling.type"))
  .value_or(old_factor.value_or(1.0) != 1.0 ? "linear" : "none");
  const double factor = TRY(file.number(at + "rope.scaling.factor"))
  .value_or(old_factor.value_or(1.0));
  if (type == "none" || factor == 0) return rope;
  if (type == "linear") {
    rope.type = RopeType::kLinear;
    rope.factor = factor;
    return rope;
  }
  if (type != "yarn") {
    return error("[{}] {}rope.scaling.type \"{}\" is not supported: none, linear and yarn are.", name, at, type);
  }
  rope.type = RopeType::kYarn;
  rope.factor = factor;
  rope.original_max_positions = TRY(file.number(at + "rope.scaling.original_context_length"))
  .value_or(static_cast<double>(config.max_positions));
  rope.beta_fast = TRY(file.number(at + "rope.scaling.yarn_beta_fast"))
  .value_or(rope.beta_fast);
  rope.beta_slow = TRY(file.number(at + "rope.scaling.yarn_beta_slow"))
  .value_or(rope.beta_slow);
  const double attention = TRY(file.number(at + "rope.scaling.attn_factor"))
  .value_or(1.0);
  if (!(factor > 0)) return error("[{}] {}rope.scaling.factor is {}; above 0 is expected.", name, at, factor);
  rope.attention_factor = attention * (factor > 1 ? 0.1 * exact_log(factor) + 1 : 1);
  return rope;
}

Result<std::optional<int32_t>> token_id(const GgufFile& file, const char* key, int64_t vocab_size) {
  const std::optional<int64_t> id = TRY(file.integer(key));
  if (!id) return std::optional<int32_t>();
  if (*id < 0 || *id >= vocab_size) {
    return error("[{}] {} is {}; ids from 0 to {} are expected.", file.path().string(), key, *id, vocab_size - 1);
  }
  return std::optional(static_cast<int32_t>(*id));
}

}  // namespace

Result<ModelConfig> config_from_gguf(const GgufFile& file) {
  const std::string name = file.path().string();
  ModelConfig config;
  const std::optional<std::string> architecture = TRY(file.string("general.architecture"));
  if (!architecture) return error("[{}] has no metadata key \"general.architecture\": it holds no model.", name);
  const bool gpt2 = *architecture == "gpt2";
  if (*architecture != "llama" && *architecture != "qwen2" && !gpt2) {
    return error("[{}] architecture \"{}\" is not supported yet: llama, qwen2 and gpt2 are.", name, *architecture);
  }
  config.family = *architecture;
  const std::string at = config.family + ".";  // opens the model's own keys
  if (TRY(file.integer(at + "expert_count")).value_or(0) > 0) {
    return error("[{}] holds a mixture of experts, which is not supported yet.", name);
  }
  config.layers = TRY(required_integer(file, at + "block_count"));
  config.hidden_size = TRY(required_integer(file, at + "embedding_length"));
  config.max_positions = TRY(required_integer(file, at + "context_length"));
  const std::optional<int64_t> intermediate = TRY(per_layer_integer(file, at + "feed_forward_length"));
  const std::optional<int64_t> heads = TRY(per_layer_integer(file, at + "attention.head_count"));
  if (!intermediate || !heads) {
    return error("[{}] has no metadata key \"{}{}\".", name, at,
                 heads ? "feed_forward_length" : "attention.head_count");
  }
  config.intermediate_size = *intermediate;
  config.heads = *heads;
  config.kv_heads = TRY(per_layer_integer(file, at + "attention.head_count_kv"))
  .value_or(config.heads);
  const std::string eps_key = at + (gpt2 ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon");
  const std::optional<double> eps = TRY(file.number(eps_key));
  if (!eps) return error("[{}] has no metadata key \"{}\".", name, eps_key);
  config.norm_eps = *eps;
  const std::optional<int64_t> key_length = TRY(file.integer(at + "attention.key_length"));
  if (!key_length && (config.heads < 1 || config.hidden_size % config.heads != 0)) {
    return error("[{}] {}embedding_length {} is no multiple of {}attention.head_count {}.", name, at,
                 config.hidden_size, at, config.heads);
  }
  config.head_dim = key_length ? *key_length : config.hidden_size / config.heads;
  if (TRY(file.integer(at + "attention.value_length")).value_or(config.head_dim) != config.head_dim) {
    return error("[{}] keys and values of different widths are not supported yet.", name);
  }
  const GgufArray* tokens = TRY(file.array("tokenizer.ggml.tokens"));
  const std::optional<int64_t> vocab_size = TRY(file.integer(at + "vocab_size"));
  if (!vocab_size && tokens == nullptr) return error("[{}] has no metadata key \"{}vocab_size\".", name, at);
  config.vocab_size = vocab_size ? *vocab_size : static_cast<int64_t>(tokens->count);
  config.tied_head = file.find_tensor("output.weight") == nullptr;
  config.attention_bias = file.find_tensor("blk.0.attn_q.bias") != nullptr;
  config.output_bias = file.find_tensor("blk.0.attn_output.bias") != nullptr;
  config.mlp_bias = file.find_tensor("blk.0.ffn_gate.bias") != nullptr;
  if (gpt2) set_gpt2_kind(config);
  TRY(check_config(config, name));  // sizes first: the rest is held against them
  if (!gpt2) config.rope = TRY(rope_from_gguf(file, config));
  TRY(check_config(config, name));
  config.bos_id = TRY(token_id(file, "tokenizer.ggml.bos_token_id", config.vocab_size));
  config.pad_id = TRY(token_id(file, "tokenizer.ggml.padding_token_id", config.vocab_size));
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    const std::optional<int32_t> id = TRY(token_id(file, key, config.vocab_size));
    if (id && std::find(config.eos_ids.begin(), config.eos_ids.end(), *id) == config.eos_ids.end()) {
      config.eos_ids.push_back(*id);
    }
  }
  return config;
}

}  // namespace candor::files
