#include "engine/last_hidden.h"

#include "base/check.h"
#include "engine/sequence_pass.h"

namespace candor::engine {

void last_hidden_states(const Context& context, const Model& model, const Adapter* adapter,
                        std::span<const std::vector<int32_t>> sequences, std::span<const int64_t> layers,
                        const std::function<bool(size_t index, std::vector<float> states)>& ready) {
  constexpr int64_t kBatchTokens = 512;
  PolicyPass pass(context, "last hidden", model, adapter == nullptr ? 0 : adapter->max_padded_rank, Keep::kOneLayer);
  std::vector<HiddenStates> read(layers.size());
  std::vector<HiddenDoor> doors;
  for (size_t i = 0; i < layers.size(); ++i) doors.push_back(read_hidden(layers[i], &read[i]));
  pass.set_doors(std::move(doors));
  for (size_t first = 0; first < sequences.size();) {
    const auto batch = sequences.subspan(first, sequences_for_pass(sequences.subspan(first), kBatchTokens));
    std::vector<RolloutGroup> groups;
    for (const std::vector<int32_t>& sequence : batch) groups.push_back({sequence, {}});
    pass.forward(adapter, groups, 1.0);
    CHECK(pass.batch().segments.size() == batch.size());
    for (size_t i = 0; i < batch.size(); ++i) {
      std::vector<float> states;
      for (const HiddenStates& layer : read) {
        const auto last = layer.of(pass.batch().segments[i].end - 1);
        states.insert(states.end(), last.begin(), last.end());
      }
      if (!ready(first + i, std::move(states))) return;
    }
    first += batch.size();
  }
}

}  // namespace candor::engine
