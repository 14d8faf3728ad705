// Whole sequences through a model, several at a time, each a row of its own: what calibration and comparison of models
// look at is in the activations.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/forward.h"

namespace candor::engine {

// How many of the sequences make up the next pass: at least one, and others while there are fewer than `tokens` tokens.
size_t sequences_for_pass(std::span<const std::vector<int32_t>> sequences, int64_t tokens);

class SequencePass {
 public:
  // `role` names the buffers in the ledger. What it is given must outlive it.
  SequencePass(const Context& context, const std::string& role, const Model& model, Activations::Keep keep);

  // Token rows in the order of the sequences, which have at least one token each.
  Activations& forward(std::span<const std::vector<int32_t>> sequences);

 private:
  const Context& context_;
  const Model& model_;
  Rope rope_;
  KvPool kv_;
  Activations activations_;
};

}  // namespace candor::engine
