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
#include "files/weight_names.h"

namespace candor::engine {

using files::kLinears;
using files::Linear;
using files::linears_of;
using files::module_path;

// An RMS norm, or with a bias a LayerNorm.
struct NormWeights {
  Buffer weight, bias;  // [padded(hidden)]; the second may be empty
  bool centres() const { return !bias.empty(); }
};

struct LayerWeights {
  NormWeights attention_norm, mlp_norm;
  std::array<PackedMatrix, kLinears> linears;  // those of linears_of(config); the others are empty
  const PackedMatrix& operator[](Linear linear) const { return linears[static_cast<int>(linear)]; }
};

struct Model {
  files::ModelConfig config;
  std::string fingerprint;                // files::base_fingerprint() of the weights as they were loaded
  Dtype dtype = Dtype::kFloat32;          // of every matrix; keys and values follow (kv_dtype)
  PackedMatrix embedding;                 // [vocab, hidden]
  std::optional<PackedMatrix> positions;  // [max_positions, hidden], added to the embedding; absent: there is rope
  std::optional<PackedMatrix> head;       // absent: tied, the embedding is the head; or there is none (config.labels)
  NormWeights final_norm;
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
