// Log-probabilities of short continuations of many prompts: what a model would answer, without a token being drawn.
//
// Requests are laid out as a tree: what one has in common with the one before it passes through the model once. So give
// neighbours what they share at their start (a system prompt, a question whose answers come in two orders). The numbers
// are bit for bit those of the whole sequences (score.h), whatever shares a pass.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/forward.h"

namespace candor::engine {

using Continuations = std::vector<std::vector<int32_t>>;

struct ContinuationRequest {
  std::vector<int32_t> prompt;                         // at least one token
  std::shared_ptr<const Continuations> continuations;  // at least one token each; many requests may have the same
};

struct ContinuationScore {
  std::vector<double> logprobs;  // of each continuation, Σ ln p of its tokens at temperature 1
  int64_t tokens = 0;            // that passed through the model for it
};

// All tokens go through `doors`. `ready` is called with (index, score) in order, as soon as a batch is done; returning
// false stops.
void continuation_logprobs(const Context& context, const Model& model, const Adapter* adapter,
                           std::span<const HiddenDoor> doors, std::span<const ContinuationRequest> requests,
                           const std::function<bool(size_t index, ContinuationScore score)>& ready);

// Of a planned ledger: allocates, and lets go of, what that would.
void plan_continuations(const Context& context, const Model& model, const Adapter* adapter,
                        std::span<const ContinuationRequest> requests);

}  // namespace candor::engine
