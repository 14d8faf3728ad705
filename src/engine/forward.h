// The decoder, forward and backward: tokens to final hidden states, and d loss / d hidden back to the gradients of what
// is trained.
#pragma once

#include <span>

#include "engine/activations.h"
#include "engine/hidden_door.h"
#include "engine/rope.h"
#include "engine/trainable.h"

namespace candor::engine {

// Runs the batch through the model: writes keys and values into kv, and the final hidden states of every token into
// `activations`. adapters: which token rows have which; rows without are the base model's, bit for bit.
// dropout: of a training pass; null otherwise. doors: which token rows have which.
void forward(const Context& context, const Model& model, const Rope& rope, std::span<const AdapterRange> adapters,
             const TokenBatch& batch, KvPool& kv, Activations& activations, const Dropout* dropout = nullptr,
             std::span<const HiddenRange> doors = {});

// The same with one adapter for all rows, or none (null).
inline void forward(const Context& context, const Model& model, const Rope& rope, const Adapter* adapter,
                    const TokenBatch& batch, KvPool& kv, Activations& activations) {
  const AdapterRange all{0, batch.tokens(), adapter};
  forward(context, model, rope, std::span(&all, 1), batch, kv, activations);
}

// A layer's part of the backward pass needs what its forward left. Computes that once more from the layer's input.
void layer_again(const Context& context, const Model& model, std::span<const AdapterRange> adapters,
                 const TokenBatch& batch, KvPool& kv, int64_t layer, Activations& activations, const Dropout* dropout);

// Token rows [begin, end) of a batch, what of them is trained, and where its gradients are added, laid out as it says.
struct TrainedRange {
  int64_t begin = 0, end = 0;
  const Trainable* trainable = nullptr;
  float* gradients = nullptr;
};

// The backward of the last forward on these activations (not Keep::kOneLayer), which it uses up, with the same batch
// and keys and values. dhidden [tokens, padded(hidden)]: d loss / d hidden. Adds into each range's gradients, tokens in
// batch order. Ranges are those of the forward pass, with the adapters it had; a model's own weights are trained in one
// range alone. kv_gradients: one layer's worth for the pages of kv; its contents do not matter.
void backward(const Context& context, const Model& model, std::span<const TrainedRange> trained,
              const TokenBatch& batch, KvPool& kv, Activations& activations, KvGradients& kv_gradients,
              const float* dhidden, const Dropout* dropout = nullptr);

}  // namespace candor::engine
