#include "files/weight_names.h"

#include <fmt/format.h>

#include <bit>

#include "base/check.h"

namespace candor::files {

namespace {

constexpr Linear kSplitGated[] = {Linear::kQ,    Linear::kK,  Linear::kV,   Linear::kO,
                                  Linear::kGate, Linear::kUp, Linear::kDown};
constexpr Linear kFusedPlain[] = {Linear::kQkv, Linear::kO, Linear::kUp, Linear::kDown};

constexpr ModuleNames kLlamaNames = {.embedding = "model.embed_tokens",
                                     .positions = "",
                                     .layers = "model.layers.",
                                     .attention_norm = "input_layernorm",
                                     .mlp_norm = "post_attention_layernorm",
                                     .final_norm = "model.norm",
                                     .linears = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "",
                                                 "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}};
constexpr ModuleNames kGpt2Names = {
    .embedding = "transformer.wte",
    .positions = "transformer.wpe",
    .layers = "transformer.h.",
    .attention_norm = "ln_1",
    .mlp_norm = "ln_2",
    .final_norm = "transformer.ln_f",
    .linears = {"", "", "", "attn.c_attn", "attn.c_proj", "", "mlp.c_fc", "mlp.c_proj"}};
constexpr const char* kGgufLinears[kLinears] = {"attn_q",      "attn_k",   "attn_v", "attn_qkv",
                                                "attn_output", "ffn_gate", "ffn_up", "ffn_down"};

}  // namespace

std::span<const Linear> linears_of(const ModelConfig& config) {
  const bool fused = config.fused_qkv, gated = config.mlp == MlpKind::kSwiGlu;
  CHECK(fused != gated);  // no family yet has one of them alone
  return fused ? std::span<const Linear>(kFusedPlain) : std::span<const Linear>(kSplitGated);
}

LinearShape linear_shape(const ModelConfig& c, Linear linear) {
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  switch (linear) {
    case Linear::kQ:
      return {q, c.hidden_size, c.attention_bias};
    case Linear::kK:
    case Linear::kV:
      return {kv, c.hidden_size, c.attention_bias};
    case Linear::kQkv:
      return {q + 2 * kv, c.hidden_size, c.attention_bias};
    case Linear::kO:
      return {c.hidden_size, q, c.output_bias};
    case Linear::kGate:
    case Linear::kUp:
      return {c.intermediate_size, c.hidden_size, c.mlp_bias};
    case Linear::kDown:
      return {c.hidden_size, c.intermediate_size, c.mlp_bias};
  }
  CHECK(false);
}

const ModuleNames& module_names(const ModelConfig& config) {
  return config.family == "gpt2" ? kGpt2Names : kLlamaNames;
}

std::string layer_prefix(const ModelConfig& config, int64_t layer) {
  return fmt::format("{}{}.", module_names(config).layers, layer);
}

std::string module_path(const ModelConfig& config, int64_t layer, Linear linear) {
  return layer_prefix(config, layer) + std::string(module_names(config).linears[static_cast<int>(linear)]);
}

std::string_view name_in_layer(std::string_view name) {
  for (const ModuleNames* names : {&kLlamaNames, &kGpt2Names}) {
    const size_t dot = name.starts_with(names->layers) ? name.find('.', names->layers.size()) : std::string_view::npos;
    if (dot != std::string_view::npos) return name.substr(dot + 1);
  }
  return {};
}

std::vector<ExpectedWeight> expected_weights(const ModelConfig& c) {
  const ModuleNames& names = module_names(c);
  std::vector<ExpectedWeight> weights;
  auto matrix = [&](std::string_view name, const char* gguf, int64_t rows) {
    weights.push_back({fmt::format("{}.weight", name), fmt::format("{}.weight", gguf), {rows, c.hidden_size}});
  };
  auto norm = [&](const std::string& name, const std::string& gguf) {
    weights.push_back({name + ".weight", gguf + ".weight", {c.hidden_size}});
    if (c.layer_norm) weights.push_back({name + ".bias", gguf + ".bias", {c.hidden_size}});
  };
  matrix(names.embedding, "token_embd", c.vocab_size);
  if (c.rope.type == RopeType::kNone) matrix(names.positions, "position_embd", c.max_positions);
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    const std::string prefix = layer_prefix(c, layer), block = fmt::format("blk.{}.", layer);
    norm(prefix + std::string(names.attention_norm), block + "attn_norm");
    for (const Linear linear : linears_of(c)) {
      if (linear == first_of_mlp(c)) norm(prefix + std::string(names.mlp_norm), block + "ffn_norm");
      const bool rotated = c.family == "llama" && (linear == Linear::kQ || linear == Linear::kK);
      const RowOrder rows = rotated ? RowOrder::kRopePairs : RowOrder::kPlain;
      const std::string path = module_path(c, layer, linear), gguf = block + kGgufLinears[static_cast<int>(linear)];
      const LinearShape shape = linear_shape(c, linear);
      weights.push_back({path + ".weight", gguf + ".weight", {shape.out, shape.in}, rows, c.transposed});
      if (shape.bias) weights.push_back({path + ".bias", gguf + ".bias", {shape.out}, rows});
    }
  }
  norm(std::string(names.final_norm), "output_norm");
  if (c.labels > 0)
    weights.push_back({"score.weight", "", {c.labels, c.hidden_size}});  // GGUF's config has no labels
  else if (!c.tied_head)
    matrix(kHeadModule, "output", c.vocab_size);
  return weights;
}

bool is_ignored_weight(const ModelConfig& config, std::string_view name) {
  const bool mask = config.family == "gpt2" && (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"));
  return mask || name.ends_with(".rotary_emb.inv_freq") || (config.tied_head && name == "lm_head.weight");
}

std::string_view short_name(const ModelConfig& config, std::string_view name) {
  constexpr std::string_view kOptional = "transformer.";
  return config.family == "gpt2" && name.starts_with(kOptional) ? name.substr(kOptional.size()) : name;
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
