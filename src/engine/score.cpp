#include "engine/score.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace candor::engine {

namespace {

constexpr int64_t kBatchTokens = 1024;

// One past the last sequence of the batch that begins with `first`.
template <typename Length>
size_t batch_end(size_t first, size_t count, Length length) {
  int64_t tokens = 0;
  size_t end = first;
  for (; end < count && (end == first || tokens < kBatchTokens); ++end) tokens += length(end);
  return end;
}

PolicyPass scoring_pass(const Context& context, const Model& model, std::span<const Adapter* const> adapters) {
  int64_t rank = 0;
  for (const Adapter* adapter : adapters)
    if (adapter != nullptr) rank = std::max(rank, adapter->max_padded_rank);
  return {context, "score", model, rank, PolicyPass::Keep::kOneLayer};
}

}  // namespace

void score_sequences(const Context& context, const Model& model, const Adapter* adapter,
                     std::span<const std::vector<int32_t>> sequences,
                     const std::function<bool(size_t index, SequenceScore score)>& ready) {
  score_sequences(context, model, std::vector<const Adapter*>(sequences.size(), adapter), sequences, ready);
}

void score_sequences(const Context& context, const Model& model, std::span<const Adapter* const> adapters,
                     std::span<const std::vector<int32_t>> sequences,
                     const std::function<bool(size_t index, SequenceScore score)>& ready) {
  CHECK(adapters.size() == sequences.size());
  PolicyPass pass = scoring_pass(context, model, adapters);
  for (size_t first = 0; first < sequences.size();) {
    std::vector<RolloutGroup> groups;
    const size_t end =
        batch_end(first, sequences.size(), [&](size_t i) { return static_cast<int64_t>(sequences[i].size()); });
    for (size_t i = first; i < end; ++i) {
      CHECK(!sequences[i].empty());
      const std::span<const int32_t> ids = sequences[i];
      groups.push_back({ids.first(1), {ids.subspan(1)}});
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

void plan_scoring(const Context& context, const Model& model, const Adapter* adapter,
                  std::span<const int64_t> lengths) {
  BatchShape worst;
  for (size_t first = 0, end = 0; first < lengths.size(); first = end) {
    end = batch_end(first, lengths.size(), [&](size_t i) { return lengths[i]; });
    BatchShape batch;
    for (size_t i = first; i < end; ++i) batch.add(1, std::array{lengths[i] - 1});
    worst.include(batch);
  }
  scoring_pass(context, model, {&adapter, 1}).plan(worst, adapter, nullptr);
}

}  // namespace candor::engine
