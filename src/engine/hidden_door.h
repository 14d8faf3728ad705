// The door to hidden states: a role may read, or change, the residual stream between two layers. Probes, steering
// vectors and erasure (h − U(Vᵀ(h − μ)), LEACE among them) come through here and nowhere else, in training, scoring and
// sampling alike.
//
// Keys and values that were computed behind a door are that door's: never shared with a role that has another one.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace candor::engine {

// A token on its way through the model.
struct HiddenToken {
  int64_t row = 0;       // among the token rows of the pass
  int64_t position = 0;  // in its sequence, from 0
  int32_t id = 0;
};

struct HiddenDoor {
  // Between which layers: 0 is the embedding's output, l what layer l (from 1) has left, the number of layers what the
  // final norm is taken of. (Transformers' hidden_states[layer], but the last, which is the norm.)
  int64_t layer = 0;
  bool edits = false;  // whether `act` may change h; no backward pass goes through such a change
  // Before the tokens of a pass: how many there are, and how many numbers a hidden state has. May be empty.
  std::function<void(int64_t tokens, int64_t width)> begin = {};
  // One token, h [width]. It is called from several threads, and what it does with h must depend on h and the token
  // alone, so that no number depends on what shares the pass.
  std::function<void(const HiddenToken& token, std::span<float> h)> act;
};

// Which token rows of a batch go through which doors, several at one layer in their order. Ranges are in order and
// disjoint; rows outside of all go through none.
struct HiddenRange {
  int64_t begin = 0, end = 0;
  std::span<const HiddenDoor> doors;
};

// What a pass read at one layer: [tokens][width], token rows in their order.
struct HiddenStates {
  int64_t width = 0;
  std::vector<float> values;

  std::span<const float> of(int64_t row) const {
    return std::span(values).subspan(static_cast<size_t>(row * width), static_cast<size_t>(width));
  }
};
// Writes into `into`, which must stay where it is, the rows of each pass in the place of the last one's.
HiddenDoor read_hidden(int64_t layer, HiddenStates* into);

// h + v. v: [width].
HiddenDoor add_to_hidden(int64_t layer, std::vector<float> v);

// h − U(Vᵀ(h − μ)), with directions U and V [rank][width] and μ [width]. Dot products in double, in order.
HiddenDoor erase_from_hidden(int64_t layer, std::vector<float> u, std::vector<float> v, std::vector<float> mean);

}  // namespace candor::engine
