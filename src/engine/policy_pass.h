// Log-probabilities of given completions under a role, or its scalar head's values of their states, and the way back to
// what it trains. One pass serves every role of its model in turn.
//
// The prompt of a group is computed once: its completions attend to its pages. A completion's last token is never an
// input, since nothing is predicted from it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/forward.h"
#include "engine/head.h"
#include "engine/head_divergence.h"

namespace candor::engine {

struct RolloutGroup {
  std::span<const int32_t> prompt;                    // at least one token
  std::vector<std::span<const int32_t>> completions;  // each may be empty
  // [completion][token]: 1 = the token has an entry. Empty: every token has one.
  std::vector<std::span<const uint8_t>> masks = {};
  uint32_t first_row = 0;  // the number of the first completion in its step: for dropout

  bool counts(size_t completion, size_t token) const { return masks.empty() || masks[completion][token] != 0; }
  int64_t completion_tokens() const;
  int64_t tokens() const;  // that pass through the model
};

// How much goes through the model together: what decides the buffers of a pass.
struct BatchShape {
  int64_t tokens = 0;   // that pass through the model
  int64_t pages = 0;    // of keys and values
  int64_t entries = 0;  // completion tokens that count

  // Of a group with a prompt of `prompt` tokens and completions of these lengths, all of whose tokens count.
  void add(int64_t prompt, std::span<const int64_t> completions);
  void add(const RolloutGroup& group);
  void include(const BatchShape& other);  // the larger of each
  BatchShape& operator+=(const BatchShape& other);
};

// Which states get a value. State t of a completion has seen the prompt and the completion's first t tokens, 0 <= t <=
// its length: a critic's states are 0, 1, … (state t is what token t is chosen from), a reward model's is the last, a
// process reward's are those behind the marked tokens.
struct ValueGroup {
  std::span<const int32_t> prompt;
  std::vector<std::span<const int32_t>> completions;
  std::vector<std::vector<int64_t>> states;  // [completion]
  uint32_t first_row = 0;                    // as a RolloutGroup's
};
// The states 0 to length of each completion, or only the last one.
std::vector<std::vector<int64_t>> every_state(std::span<const std::span<const int32_t>> completions);
std::vector<std::vector<int64_t>> last_state(std::span<const std::span<const int32_t>> completions);

class PolicyPass {
 public:
  using Keep = engine::Keep;
  // Keep::kOneLayer: no backward() will follow. most_bytes: as in Activations. `role` names the buffers in the ledger.
  PolicyPass(const Context& context, std::string role, const Model& model, int64_t max_padded_rank, Keep keep,
             int64_t most_bytes = Activations::kNoLimit);

  // From here on, passes are of training: what adapters read is dropped as their config says. The key is of one
  // optimizer step; none (at first) switches it off.
  void set_dropout(std::optional<DropoutKey> key) { dropout_key_ = key; }

  // From here on, all tokens go through these doors (hidden_door.h). Where one of them edits, no backward may follow.
  void set_doors(std::vector<HiddenDoor> doors) { doors_ = std::move(doors); }

  // One entry per completion token that counts, rows in order (group by group), tokens within. adapter: null = the
  // model alone.
  const HeadOutput& forward(const Adapter* adapter, std::span<const RolloutGroup> groups, double temperature);

  // The same with an adapter (or null) for each group. Every group's numbers are those that it would have by itself.
  const HeadOutput& forward(std::span<const Adapter* const> adapters, std::span<const RolloutGroup> groups,
                            double temperature);

  // Derivatives of the loss by each entry of the last forward, which had this adapter, or this model's weights; once.
  // Adds into `gradients`, laid out as `trainable` says.
  void backward(const Trainable& trainable, std::span<const float> dlogprob, std::span<const float> dentropy,
                float* gradients);

  // The same by whatever the head can give of an entry.
  void backward(const Trainable& trainable, const HeadDerivatives& derivatives, float* gradients);

  // Of the last forward, which had one adapter (or none) for all groups, until the next one or a backward: its head,
  // for comparison with another; how far its distributions are from another's (head_divergence); and what else it says
  // over the whole vocabulary.
  HeadView head_view();
  Divergence divergence(const HeadView& other, double beta) {
    return head_divergence(context_, head_view(), other, beta);
  }
  VocabularyStatistics vocabulary() { return vocabulary_statistics(context_, head_view()); }

  // Of a forward with an adapter for each group, all of them given: what is trained of each group, and where its
  // gradients are added.
  struct Trained {
    const Trainable* trainable = nullptr;
    float* gradients = nullptr;
  };
  void backward(std::span<const Trained> groups, std::span<const float> dlogprob, std::span<const float> dentropy);

  // Values [entries][labels], one entry per state, completions in order (group by group). A state that completions
  // share (state 0) has an entry in each.
  const std::vector<float>& values(const Adapter* adapter, const ScalarHead& head, std::span<const ValueGroup> groups);

  // The same with an adapter (or null) and a head for each group: an ensemble of K reward models is K groups of the
  // same tokens. The heads have the same number of labels.
  const std::vector<float>& values(std::span<const Adapter* const> adapters, std::span<const ScalarHead* const> heads,
                                   std::span<const ValueGroup> groups);

  // Derivatives of the loss by the values of the last call, [entries][labels]. Adds into `gradients`, as backward does;
  // where only heads are trained, nothing is computed below them.
  void values_backward(const Trainable& trainable, std::span<const float> dvalues, float* gradients);
  void values_backward(std::span<const Trained> groups, std::span<const float> dvalues);

  // Of a planned ledger: allocates what a forward of such a batch would, and, with this trainable, a backward. What the
  // pass keeps comes first, as it is from the second such batch on. Without entries: what values() would.
  // other_head: of a pass whose divergence from this head is asked for. (vocabulary() takes no more than a forward.)
  void plan(const BatchShape& shape, const Adapter* adapter, const Trainable* trainable,
            const PackedMatrix* other_head = nullptr);

  // What the last forward left, token rows in batch order; and the token row that predicts each entry.
  Activations& activations() { return activations_; }
  const TokenBatch& batch() const { return batch_; }
  std::span<const HeadRow> entries() const { return head_rows_; }

 private:
  // Where a completion's states are among the token rows.
  struct StateRows {
    int64_t before, first;  // of state 0, the prompt's last token; of state 1
    int64_t of(int64_t state) const { return state == 0 ? before : first + state - 1; }
  };
  // Neighbouring groups that go through the same adapter: their token rows and their entries.
  struct Run {
    size_t group;  // the first of them
    int64_t begin, end;
    size_t first_entry, entries;
  };
  // Cut where `same` parts a group from the one before.
  std::vector<Run> runs(const std::function<bool(size_t before, size_t group)>& same) const;
  void clear(int64_t tokens);
  std::vector<StateRows> append(std::span<const int32_t> prompt, std::span<const std::span<const int32_t>> inputs);
  void number_rows(uint32_t first_row, std::span<const std::span<const int32_t>> inputs,
                   std::span<const StateRows> rows);
  // Of the tokens that were laid out; none: no adapter drops.
  std::optional<Dropout> dropout();
  void reserve_dropout(int64_t tokens);
  float* zeroed_dhidden(bool to_the_bottom);
  void reserve_logits(int64_t entries);
  KeptLogits kept_from(size_t first_entry);
  void reserve_backward(int64_t tokens, int64_t pages);
  void backward_from_head(std::span<const Trained> groups, const HeadDerivatives& derivatives);
  void backward_from_hidden(std::span<const TrainedRange> trained);
  void run_forward(std::span<const AdapterRange> adapters);

  const Context& context_;
  const Model& model_;
  Rope rope_;
  std::string role_;
  Activations activations_;
  std::optional<KvPool> kv_;
  int64_t kv_layers_ = 0;  // of its pages
  KvGradients kv_gradients_;
  TokenBatch batch_;
  std::vector<int32_t> pages_;  // owned by the last forward
  std::vector<HeadRow> head_rows_;
  HeadOutput output_;
  Buffer logits_;
  int64_t kept_rows_ = 0;  // of the last forward's entries
  std::vector<int64_t> value_rows_;
  std::vector<float> values_;
  std::vector<Run> groups_;               // one of each group
  std::vector<const Adapter*> adapters_;  // of each group
  std::vector<const ScalarHead*> scalar_heads_;
  double temperature_ = 1.0;
  std::vector<HiddenDoor> doors_;
  std::optional<DropoutKey> dropout_key_;
  std::vector<uint32_t> dropout_rows_;
  Buffer dropout_scratch_;
  Buffer dhidden_;
};

}  // namespace candor::engine
