// The decoder, forward and backward: tokens to final hidden states, and d loss / d hidden back to the gradients of what
// is trained.
#pragma once

#include <array>
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
// `activations`. adapter: null = the base model, bit for bit.
void forward(const Context& context, const Model& model, const Rope& rope, const Adapter* adapter,
             const TokenBatch& batch, KvPool& kv, Activations& activations);

// The backward of the last forward on these activations (Keep::kAllLayers) with the same batch and keys and values.
// dhidden [tokens, padded(hidden)]: d loss / d hidden. Adds into `gradients`, laid out as `trainable` says (of its
// adapter that forward had), tokens in batch order. kv_gradients: one layer's worth for the pages of kv; its contents
// do not matter.
void backward(const Context& context, const Model& model, const Trainable& trainable, const TokenBatch& batch,
              KvPool& kv, Activations& activations, KvGradients& kv_gradients, const float* dhidden, float* gradients);

}  // namespace candor::engine
