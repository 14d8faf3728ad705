// The decoder, forward and backward: tokens to final hidden states, and d loss / d hidden back to the gradients of what
// is trained.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "engine/attention.h"
#include "engine/linear.h"
#include "engine/rope.h"
#include "engine/trainable.h"

namespace candor::engine {

// What a layer computed. Rows are tokens; widths are padded to 16.
struct LayerActivations {
  float* input;                          // residual stream in [hidden]
  float* q;                              // after the rotation [heads·head_dim]
  float* attention;                      // before o_proj [heads·head_dim]
  float* log_sum;                        // [heads]
  float* middle;                         // residual stream after attention [hidden]
  float *gate, *up;                      // [intermediate]
  std::array<float*, kLinears> u;        // s·A x of each adapted linear [max padded rank]
  float *attention_factor, *mlp_factor;  // 1/rms [1]
};

// Space for the activations of up to `capacity` tokens: of every layer for a backward pass, of one layer (each reuses
// it) without. Also holds what is only needed within a layer.
class Activations {
 public:
  enum class Keep { kOneLayer, kAllLayers };
  Activations(const Context& context, std::string role, const Model& model, int64_t max_padded_rank, Keep keep);

  void reserve(int64_t tokens);
  LayerActivations layer(int64_t layer);
  float* hidden() { return hidden_.data(); }     // after the final norm [tokens, padded(hidden)]
  float* final_input() { return final_input_; }  // before it
  float* final_factor() { return final_factor_; }

  // Scratch within a layer, [tokens, …] each.
  struct Scratch {
    float *normed, *k, *v, *projected, *act;                               // forward
    float *dx, *dh, *dq, *dk, *dv, *dattention, *dgate, *dup, *dact, *du;  // backward; null with kOneLayer
    float *cosine, *sine;                                                  // [tokens, head_dim/2]
    float* attention;                                                      // per thread
    int64_t u_row;                                                         // floats of a row of u and du
    RoundedScratch rounded;  // for the widest input of linear layers; with kAllLayers for the widest dy of several
  };
  const Scratch& scratch() const { return scratch_; }

 private:
  void lay_out(int64_t tokens);

  const Context& context_;
  std::string role_;
  const files::ModelConfig& config_;
  Dtype dtype_;
  int64_t rank_;
  Keep keep_;
  int64_t capacity_ = 0, layer_stride_ = 0;
  Buffer layers_, hidden_, work_;
  Bf16Buffer rounded_;
  float *final_input_ = nullptr, *final_factor_ = nullptr;
  LayerActivations first_{};
  Scratch scratch_{};
};

// Runs the batch through the model: writes keys and values into kv, and the final hidden states of every token into
// `activations`. adapters: which token rows have which; rows without are the base model's, bit for bit.
// dropout: of a training pass; null otherwise.
void forward(const Context& context, const Model& model, const Rope& rope, std::span<const AdapterRange> adapters,
             const TokenBatch& batch, KvPool& kv, Activations& activations, const Dropout* dropout = nullptr);

// The same with one adapter for all rows, or none (null).
inline void forward(const Context& context, const Model& model, const Rope& rope, const Adapter* adapter,
                    const TokenBatch& batch, KvPool& kv, Activations& activations) {
  const AdapterRange all{0, batch.tokens(), adapter};
  forward(context, model, rope, std::span(&all, 1), batch, kv, activations);
}

// Token rows [begin, end) of a batch, what of them is trained, and where its gradients are added, laid out as it says.
struct TrainedRange {
  int64_t begin = 0, end = 0;
  const Trainable* trainable = nullptr;
  float* gradients = nullptr;
};

// The backward of the last forward on these activations (Keep::kAllLayers) with the same batch and keys and values.
// dhidden [tokens, padded(hidden)]: d loss / d hidden. Adds into each range's gradients, tokens in batch order. Ranges
// are those of the forward pass, with the adapters it had; a model's own weights are trained in one range alone.
// kv_gradients: one layer's worth for the pages of kv; its contents do not matter.
void backward(const Context& context, const Model& model, std::span<const TrainedRange> trained,
              const TokenBatch& batch, KvPool& kv, Activations& activations, KvGradients& kv_gradients,
              const float* dhidden, const Dropout* dropout = nullptr);

}  // namespace candor::engine
