#include "files/config_check.h"

#include <cmath>

namespace candor::files {

void set_gpt2_kind(ModelConfig& config) {
  config.attention_bias = config.output_bias = config.mlp_bias = true;
  config.fused_qkv = config.layer_norm = config.transposed = true;
  config.mlp = MlpKind::kGelu;
  config.rope.type = RopeType::kNone;
}

Result<void> check_config(const ModelConfig& config, const std::string& name) {
  struct Bound {
    const char* what;
    int64_t value, most;
  };
  const Bound bounds[] = {{"hidden_size", config.hidden_size, 1 << 20},
                          {"intermediate_size", config.intermediate_size, 1 << 22},
                          {"num_hidden_layers", config.layers, 4096},
                          {"num_attention_heads", config.heads, 1 << 14},
                          {"num_key_value_heads", config.kv_heads, 1 << 14},
                          {"head_dim", config.head_dim, 1 << 14},
                          {"vocab_size", config.vocab_size, 1 << 24},
                          {"max_position_embeddings", config.max_positions, int64_t{1} << 31}};
  for (const Bound& bound : bounds) {
    if (bound.value < 1 || bound.value > bound.most) {
      return error("[{}] {} is {}; a number from 1 to {} is expected.", name, bound.what, bound.value, bound.most);
    }
  }
  if (config.heads * config.head_dim > 1 << 20) {
    return error("[{}] num_attention_heads {} times head_dim {} is {}; at most {} is expected.", name, config.heads,
                 config.head_dim, config.heads * config.head_dim, 1 << 20);
  }
  if (config.heads % config.kv_heads != 0) {
    return error("[{}] num_attention_heads {} is no multiple of num_key_value_heads {}.", name, config.heads,
                 config.kv_heads);
  }
  if (config.head_dim % 2 != 0 && config.rope.type != RopeType::kNone)
    return error("[{}] head_dim {} is odd; rope turns pairs.", name, config.head_dim);
  if (!(config.norm_eps > 0 && config.norm_eps < 1)) {
    return error("[{}] {} is {}; a number between 0 and 1 is expected.", name,
                 config.layer_norm ? "layer_norm_epsilon" : "rms_norm_eps", config.norm_eps);
  }
  if (!(config.initializer_range >= 0 && config.initializer_range <= 100)) {
    return error("[{}] initializer_range is {}; a number from 0 to 100 is expected.", name, config.initializer_range);
  }
  const RopeConfig& rope = config.rope;
  const bool positive = rope.theta > 0 && rope.factor > 0 && rope.low_freq_factor > 0 && rope.high_freq_factor > 0 &&
                        rope.beta_fast > 0 && rope.beta_slow > 0 && rope.attention_factor >= 0 &&
                        rope.original_max_positions >= 0;
  const double sum = rope.theta + rope.factor + rope.low_freq_factor + rope.high_freq_factor + rope.beta_fast +
                     rope.beta_slow + rope.attention_factor + rope.original_max_positions;
  if (!positive || !std::isfinite(sum)) return error("[{}] a rope parameter is not a positive finite number.", name);
  if (rope.type == RopeType::kLlama3 && rope.high_freq_factor <= rope.low_freq_factor) {
    return error("[{}] rope's high_freq_factor {} is not above its low_freq_factor {}.", name, rope.high_freq_factor,
                 rope.low_freq_factor);
  }
  if ((rope.type == RopeType::kLlama3 || rope.type == RopeType::kYarn) && rope.original_max_positions < 1) {
    return error("[{}] rope needs original_max_position_embeddings of at least 1.", name);
  }
  if (rope.type == RopeType::kYarn && rope.theta <= 1) return error("[{}] yarn needs a rope_theta above 1.", name);
  for (const auto* id : {config.bos_id ? &*config.bos_id : nullptr, config.pad_id ? &*config.pad_id : nullptr}) {
    if (id != nullptr && (*id < 0 || *id >= config.vocab_size)) {
      return error("[{}] the token id {} is outside the vocabulary of {}.", name, *id, config.vocab_size);
    }
  }
  for (const int32_t id : config.eos_ids) {
    if (id < 0 || id >= config.vocab_size) {
      return error("[{}] the eos token id {} is outside the vocabulary of {}.", name, id, config.vocab_size);
    }
  }
  return {};
}

}  // namespace candor::files
