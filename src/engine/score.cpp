#include "engine/score.h"

#include <algorithm>

#include "base/check.h"

namespace candor::engine {

void score_sequences(const Context& context, const Model& model, const Adapter* adapter,
                     std::span<const std::vector<int32_t>> sequences,
                     const std::function<bool(size_t index, SequenceScore score)>& ready) {
  score_sequences(context, model, std::vector<const Adapter*>(sequences.size(), adapter), sequences, ready);
}

void score_sequences(const Context& context, const Model& model, std::span<const Adapter* const> adapters,
                     std::span<const std::vector<int32_t>> sequences,
                     const std::function<bool(size_t index, SequenceScore score)>& ready) {
  constexpr int64_t kBatchTokens = 1024;
  CHECK(adapters.size() == sequences.size());
  int64_t rank = 0;
  for (const Adapter* adapter : adapters)
    if (adapter != nullptr) rank = std::max(rank, adapter->max_padded_rank);
  PolicyPass pass(context, "score", model, rank, PolicyPass::Keep::kOneLayer);
  for (size_t first = 0; first < sequences.size();) {
    std::vector<RolloutGroup> groups;
    int64_t tokens = 0;
    for (size_t i = first; i < sequences.size() && (groups.empty() || tokens < kBatchTokens); ++i) {
      CHECK(!sequences[i].empty());
      const std::span<const int32_t> ids = sequences[i];
      groups.push_back({ids.first(1), {ids.subspan(1)}});
      tokens += static_cast<int64_t>(ids.size());
    }
    const HeadOutput& out = pass.forward(adapters.subspan(first, groups.size()), groups, 1.0);
    size_t entry = 0;
    for (size_t i = first; i < first + groups.size(); ++i) {
      SequenceScore score{{0.0f}, {0.0f}};
      for (size_t t = 1; t < sequences[i].size(); ++t, ++entry) {
        score.logprobs.push_back(out.logprobs[entry]);
        score.entropy.push_back(out.entropy[entry]);
      }
      if (!ready(i, std::move(score))) return;
    }
    first += groups.size();
  }
}

}  // namespace candor::engine
