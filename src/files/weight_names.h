// Which weights a model must have, by name and shape, and what GGUF calls them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "files/model_config.h"

namespace candor::files {

// The linear layers that a decoder block may have, in the order in which adapters list them. kQkv, or kQ, kK and kV;
// kGate where the MLP has one.
enum class Linear { kQ, kK, kV, kQkv, kO, kGate, kUp, kDown };
inline constexpr int kLinears = 8;

// Those that a block of this model has, in order.
std::span<const Linear> linears_of(const ModelConfig& config);
inline Linear first_of_mlp(const ModelConfig& config) {
  return config.mlp == MlpKind::kSwiGlu ? Linear::kGate : Linear::kUp;
}

struct LinearShape {
  int64_t out = 0, in = 0;
  bool bias = false;
};
LinearShape linear_shape(const ModelConfig& config, Linear linear);

// Paths of modules as Hugging Face and PEFT write them: "model.layers.3.self_attn.q_proj".
struct ModuleNames {
  std::string_view embedding, positions, layers, attention_norm, mlp_norm, final_norm;
  std::string_view linears[kLinears];  // those that the family has; the others empty
};
const ModuleNames& module_names(const ModelConfig& config);
inline constexpr const char* kHeadModule = "lm_head";

// Of layer `layer`, and of what stands in it.
std::string layer_prefix(const ModelConfig& config, int64_t layer);  // "model.layers.3."
std::string module_path(const ModelConfig& config, int64_t layer, Linear linear);

// What stands behind the layer in a weight's name, whatever the family: "mlp.up_proj.weight" of
// "model.layers.3.mlp.up_proj.weight"; empty where it is in none.
std::string_view name_in_layer(std::string_view name);

// How GGUF's rows lie: llama.cpp permutes those of q and k for its interleaved rope.
enum class RowOrder { kPlain, kRopePairs };

struct ExpectedWeight {
  std::string name;  // Hugging Face's
  std::string gguf_name;
  std::vector<int64_t> shape;  // outermost first
  RowOrder gguf_rows = RowOrder::kPlain;
  bool transposed = false;  // safetensors holds it as [in, out]
};

// In the order of the forward pass.
std::vector<ExpectedWeight> expected_weights(const ModelConfig& config);

// Weights that some directories hold and no computation needs: buffers of old Transformers (inverse frequencies, causal
// masks), a head that is tied anyway.
bool is_ignored_weight(const ModelConfig& config, std::string_view name);

// How the weight `name` may also be called in a file: GPT-2's own files leave out "transformer.".
std::string_view short_name(const ModelConfig& config, std::string_view name);

// The row of a permuted GGUF tensor that holds Hugging Face's row `row`: inside each head of `head_dim` rows, GGUF's
// rows 0, 1, 2, 3, … are Hugging Face's 0, d/2, 1, d/2 + 1, …
int64_t rope_pair_row(int64_t row, int64_t head_dim);

// The other way round: Hugging Face's row that lies in row `row` of a permuted tensor.
int64_t rope_half_row(int64_t row, int64_t head_dim);

// The first index of a value that is NaN or infinite; −1 where all are finite.
int64_t first_non_finite(const float* values, int64_t count);

}  // namespace candor::files
