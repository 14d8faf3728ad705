// What a decoder-only model is, as data: read from config.json (either dialect) or from GGUF metadata.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace candor::files {

enum class RopeType { kDefault, kLinear, kLlama3, kYarn, kNone };  // kNone: positions are learned

struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double original_max_positions = 0;                     // llama3, yarn
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  double beta_fast = 32.0, beta_slow = 1.0;              // yarn
  double attention_factor = 0.0;                         // yarn: multiplies cos and sin; 0 = 0.1·ln(factor) + 1
  bool truncate = true;                                  // yarn: correction range rounded to whole dimensions
  std::vector<float> frequency_divisors;                 // GGUF's rope_freqs.weight [head_dim/2]; empty = none
};

enum class MlpKind {
  kSwiGlu,  // down(silu(gate(x))·up(x))
  kGelu     // down(gelu(up(x))) with GELU's tanh form, Transformers' "gelu_new"
};

struct ModelConfig {
  std::string family;  // "llama", "qwen2" or "gpt2"
  int64_t hidden_size = 0, intermediate_size = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab_size = 0;
  int64_t max_positions = 0;  // context length in tokens
  double norm_eps = 1e-6;
  bool tied_head = false;       // lm_head is the embedding
  bool attention_bias = false;  // q, k and v have biases
  bool output_bias = false;     // o has one
  bool mlp_bias = false;        // gate, up and down have biases
  bool fused_qkv = false;       // q, k and v are the outputs of one linear layer, in this order
  bool layer_norm = false;      // LayerNorm with biases in the place of RMS norms
  bool transposed = false;      // linear layers lie as [in, out] in safetensors (Conv1D); here they are [out, in]
  MlpKind mlp = MlpKind::kSwiGlu;
  // A sequence classifier (reward model) has score.weight [labels, hidden] in the language head's place; 0: it has
  // none.
  int64_t labels = 0;
  double initializer_range = 0.02;  // deviation of weights that are made anew (a score head)
  RopeConfig rope;  // of type kNone: a learned vector for each of max_positions is added to the embedding
  std::optional<int32_t> bos_id, pad_id;
  std::vector<int32_t> eos_ids;
};

}  // namespace candor::files
