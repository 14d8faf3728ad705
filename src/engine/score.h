// Log-probabilities of given sequences.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/policy_pass.h"

namespace candor::engine {

// Entry t is about token t given those before it; entry 0, which nothing predicts, is 0.
struct SequenceScore {
  std::vector<float> logprobs;  // ln p at temperature 1
  std::vector<float> entropy;   // nats, of the distribution that predicted token t
};

// sequences: at least one token each. `ready` is called with (index, score) in order, as soon as a batch is done, so
// that a long file streams; returning false stops.
void score_sequences(const Context& context, const Model& model, const Adapter* adapter,
                     std::span<const std::vector<int32_t>> sequences,
                     const std::function<bool(size_t index, SequenceScore score)>& ready);

// The same with an adapter (or null) for each sequence: an ensemble of K adapters on one sequence is K sequences.
void score_sequences(const Context& context, const Model& model, std::span<const Adapter* const> adapters,
                     std::span<const std::vector<int32_t>> sequences,
                     const std::function<bool(size_t index, SequenceScore score)>& ready);

// Of a planned ledger: allocates, and lets go of, what scoring sequences of these lengths would.
void plan_scoring(const Context& context, const Model& model, const Adapter* adapter, std::span<const int64_t> lengths);

}  // namespace candor::engine
