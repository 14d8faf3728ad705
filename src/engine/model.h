// A decoder-only model in memory: one packed copy of each weight, frozen, shared by every role.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/dtype.h"
#include "engine/packed_matrix.h"
#include "files/model_files.h"

namespace candor::engine {

// The linear layers of a decoder block, in the order in which adapters list them.
enum class Linear { kQ, kK, kV, kO, kGate, kUp, kDown };
inline constexpr int kLinears = 7;
inline constexpr std::array<const char*, kLinears> kLinearNames = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

// "model.layers.3.self_attn.q_proj": the module path as Hugging Face and PEFT write it.
std::string module_path(int64_t layer, Linear linear);

struct LayerWeights {
  Buffer attention_norm, mlp_norm;  // [padded(hidden)]
  std::array<PackedMatrix, kLinears> linears;
  const PackedMatrix& operator[](Linear linear) const { return linears[static_cast<int>(linear)]; }
};

struct Model {
  files::ModelConfig config;
  std::string fingerprint;           // files::base_fingerprint() of the weights as they were loaded
  Dtype dtype = Dtype::kFloat32;     // of every matrix; keys and values follow (kv_dtype)
  PackedMatrix embedding;            // [vocab, hidden]
  std::optional<PackedMatrix> head;  // absent: tied, the embedding is the head; or there is none (config.labels)
  Buffer final_norm;
  std::vector<LayerWeights> layers;

  const PackedMatrix& head_matrix() const { return head ? *head : embedding; }  // not of a classifier
};

// Full fine-tuning in bfloat16 changes float32 master weights, which stand beside the rounded ones: reads them from the
// files of the model. Does nothing in another dtype. Error: as load_model.
Result<void> add_master_weights(const Context& context, const files::ModelFiles& files, Model& model);

// After a change of the master weights. Does nothing without them.
void round_master_weights(const Context& context, Model& model);

// Reads and packs every weight, rounding to `dtype` where the file holds more; without a dtype, what the file holds
// (choose_dtype). Of a planned ledger no weight is read. Error: a weight that is not finite, or becomes so by rounding;
// a sequence classifier, which has no language head.
Result<Model> load_model(const Context& context, const files::ModelFiles& files,
                         std::optional<Dtype> dtype = std::nullopt);

// As load_model, of a sequence classifier too: all but its score head, which is the role's (roles.h).
Result<Model> load_body(const Context& context, const files::ModelFiles& files,
                        std::optional<Dtype> dtype = std::nullopt);

}  // namespace candor::engine
