// Log-probabilities of given completions under a role, and the way back to what it trains.
//
// The prompt of a group is computed once: its completions attend to its pages. A completion's last token is never an
// input, since nothing is predicted from it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/forward.h"
#include "engine/head.h"

namespace candor::engine {

struct RolloutGroup {
  std::span<const int32_t> prompt;                    // at least one token
  std::vector<std::span<const int32_t>> completions;  // each may be empty
  // [completion][token]: 1 = the token has an entry. Empty: every token has one.
  std::vector<std::span<const uint8_t>> masks = {};

  bool counts(size_t completion, size_t token) const { return masks.empty() || masks[completion][token] != 0; }
  int64_t completion_tokens() const;
  int64_t tokens() const;  // that pass through the model
};

class PolicyPass {
 public:
  using Keep = Activations::Keep;
  // Keep::kAllLayers: backward() may follow. `role` names the buffers in the ledger.
  PolicyPass(const Context& context, std::string role, const Model& model, int64_t max_padded_rank, Keep keep);

  // One entry per completion token that counts, rows in order (group by group), tokens within. adapter: null = the
  // model alone.
  const HeadOutput& forward(const Adapter* adapter, std::span<const RolloutGroup> groups, double temperature);

  // Derivatives of the loss by each entry of the last forward, which had this adapter, or this model's weights. Adds
  // into `gradients`, laid out as `trainable` says.
  void backward(const Trainable& trainable, std::span<const float> dlogprob, std::span<const float> dentropy,
                float* gradients);

  // What the last forward left, token rows in batch order.
  Activations& activations() { return activations_; }
  const TokenBatch& batch() const { return batch_; }

 private:
  void lay_out(std::span<const RolloutGroup> groups);

  const Context& context_;
  const Model& model_;
  Rope rope_;
  std::string role_;
  KvPool kv_;
  Activations activations_;
  KvGradients kv_gradients_;
  TokenBatch batch_;
  std::vector<int32_t> pages_;  // owned by the last forward
  std::vector<HeadRow> head_rows_;
  HeadOutput output_;
  const Adapter* adapter_ = nullptr;
  double temperature_ = 1.0;
  Buffer dhidden_;
};

}  // namespace candor::engine
