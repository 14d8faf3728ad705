#include "engine/sequence_pass.h"

namespace candor::engine {

size_t sequences_for_pass(std::span<const std::vector<int32_t>> sequences, int64_t tokens) {
  size_t count = 0;
  for (int64_t taken = 0; count < sequences.size() && (count == 0 || taken < tokens); ++count)
    taken += static_cast<int64_t>(sequences[count].size());
  return count;
}

SequencePass::SequencePass(const Context& context, const std::string& role, const Model& model, Activations::Keep keep)
    : context_(context),
      model_(model),
      rope_(make_rope(model.config)),
      kv_(context.ledger, role, model.config, model.dtype),
      activations_(context, role, model, 0, keep) {}

Activations& SequencePass::forward(std::span<const std::vector<int32_t>> sequences) {
  TokenBatch batch;
  for (const std::vector<int32_t>& sequence : sequences) {
    std::vector<int32_t> pages;
    for (size_t at = 0; at < sequence.size(); at += kPageTokens) pages.push_back(kv_.take());
    batch.append(sequence, 0, std::move(pages));
  }
  engine::forward(context_, model_, rope_, nullptr, batch, kv_, activations_);
  for (const Segment& segment : batch.segments)
    for (const int32_t page : segment.pages) kv_.release(page);
  return activations_;
}

}  // namespace candor::engine
