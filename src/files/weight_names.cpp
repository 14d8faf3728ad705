#include "files/weight_names.h"

#include <fmt/format.h>

#include <bit>

namespace candor::files {

std::vector<ExpectedWeight> expected_weights(const ModelConfig& c) {
  std::vector<ExpectedWeight> weights;
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  const RowOrder rotated = c.family == "llama" ? RowOrder::kRopePairs : RowOrder::kPlain;
  weights.push_back({"model.embed_tokens.weight", "token_embd.weight", {c.vocab_size, c.hidden_size}});
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    auto norm = [&](const char* name, const char* gguf) {
      weights.push_back({fmt::format("model.layers.{}.{}.weight", layer, name),
                         fmt::format("blk.{}.{}.weight", layer, gguf),
                         {c.hidden_size}});
    };
    auto linear = [&](const char* name, const char* gguf, int64_t out, int64_t in, bool bias,
                      RowOrder rows = RowOrder::kPlain) {
      const std::string hf = fmt::format("model.layers.{}.{}", layer, name),
                        block = fmt::format("blk.{}.{}", layer, gguf);
      weights.push_back({hf + ".weight", block + ".weight", {out, in}, rows});
      if (bias) weights.push_back({hf + ".bias", block + ".bias", {out}, rows});
    };
    norm("input_layernorm", "attn_norm");
    linear("self_attn.q_proj", "attn_q", q, c.hidden_size, c.attention_bias, rotated);
    linear("self_attn.k_proj", "attn_k", kv, c.hidden_size, c.attention_bias, rotated);
    linear("self_attn.v_proj", "attn_v", kv, c.hidden_size, c.attention_bias);
    linear("self_attn.o_proj", "attn_output", c.hidden_size, q, c.output_bias);
    norm("post_attention_layernorm", "ffn_norm");
    linear("mlp.gate_proj", "ffn_gate", c.intermediate_size, c.hidden_size, c.mlp_bias);
    linear("mlp.up_proj", "ffn_up", c.intermediate_size, c.hidden_size, c.mlp_bias);
    linear("mlp.down_proj", "ffn_down", c.hidden_size, c.intermediate_size, c.mlp_bias);
  }
  weights.push_back({"model.norm.weight", "output_norm.weight", {c.hidden_size}});
  if (c.labels > 0)
    weights.push_back({"score.weight", "", {c.labels, c.hidden_size}});  // GGUF's config has no labels
  else if (!c.tied_head)
    weights.push_back({"lm_head.weight", "output.weight", {c.vocab_size, c.hidden_size}});
  return weights;
}

bool is_ignored_weight(const ModelConfig& config, std::string_view name) {
  return name.ends_with(".rotary_emb.inv_freq") || (config.tied_head && name == "lm_head.weight");
}

int64_t rope_pair_row(int64_t row, int64_t head_dim) {
  const int64_t in_head = row % head_dim, half = head_dim / 2;
  return row - in_head + (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1);
}

int64_t rope_half_row(int64_t row, int64_t head_dim) {
  const int64_t in_head = row % head_dim;
  return row - in_head + in_head / 2 + (in_head % 2 == 0 ? 0 : head_dim / 2);
}

int64_t first_non_finite(const float* values, int64_t count) {
  // Without a branch in the loop, so that it vectorizes: an exponent of all ones is NaN or infinity.
  auto non_finite = [&](int64_t i) {
    return static_cast<uint32_t>((std::bit_cast<uint32_t>(values[i]) & 0x7f800000u) == 0x7f800000u);
  };
  uint32_t any = 0;
  for (int64_t i = 0; i < count; ++i) any |= non_finite(i);
  for (int64_t i = 0; any != 0 && i < count; ++i) {
    if (non_finite(i)) return i;
  }
  return -1;
}

}  // namespace candor::files
