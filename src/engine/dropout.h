// Dropout of what an adapter's A reads (PEFT's lora_dropout): u = s·A (mask ⊙ x)/(1 − p), in training passes only.
// PiSSA's start is not dropped: it belongs to the base.
//
// A mask follows from (seed, step, row, position, module) and is drawn again for the backward pass, so neither threads
// nor the split of a step into micro-batches nor packing can change it, and none is kept.
#pragma once

#include <cstdint>
#include <span>

#include "engine/context.h"

namespace candor::engine {

// Of one optimizer step.
struct DropoutKey {
  uint64_t seed = 0;
  uint32_t step = 0;
};

// Of one pass.
struct Dropout {
  DropoutKey key;
  std::span<const uint32_t> rows;      // [tokens]: the number of each token's row in the step
  std::span<const int32_t> positions;  // [tokens]: in its row
  float* scratch = nullptr;            // [tokens, the widest input of a linear layer]
};

// One module's masks at probability p; `module` is its number in the adapter.
struct DropoutMask {
  const Dropout& dropout;
  double probability;
  uint32_t module;

  // to = mask ⊙ from/(1 − p), or to += it, of the token rows [begin, end), each `width` (padded) wide.
  void apply(const Context& context, int64_t begin, int64_t end, int64_t width, const float* from, float* to) const;
  void add(const Context& context, int64_t begin, int64_t end, int64_t width, const float* from, float* to) const;
};

}  // namespace candor::engine
