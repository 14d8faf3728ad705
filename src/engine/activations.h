// What a pass through the model writes between its operations, and how many bytes that is.
#pragma once

#include <array>
#include <limits>
#include <string>

#include "engine/attention.h"
#include "engine/linear.h"

namespace candor::engine {

// What a layer computed. Rows are tokens; widths are padded to 16.
struct LayerActivations {
  float* input;                          // residual stream in [hidden]
  float* q;                              // after the rotation [heads·head_dim]
  float* attention;                      // before o_proj [heads·head_dim]
  float* log_sum;                        // [heads]
  float* middle;                         // residual stream after attention [hidden]
  float *k, *v;                          // after the rotation, unrounded; kept for DoRA only [kv_heads·head_dim]
  float *gate, *up;                      // [intermediate]; the backward pass leaves their gradients here. gate: or null
  std::array<float*, kLinears> u;        // s·A x of each linear that the model has [max padded rank]
  float *attention_factor, *mlp_factor;  // 1/rms [1]
};

// What is kept for a backward pass: nothing (each layer reuses the one stretch), the input of every layer, from which
// the backward pass computes the layer once more, or everything. None changes a bit.
enum class Keep { kOneLayer, kLayerInputs, kAllLayers };

// Space for the activations of a batch, and for what is only needed within a layer.
class Activations {
 public:
  using Keep = engine::Keep;
  static constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

  // most_bytes: with kAllLayers, a batch of which all layers would take more keeps their inputs only.
  Activations(const Context& context, std::string role, const Model& model, int64_t max_padded_rank, Keep keep,
              int64_t most_bytes = kNoLimit);

  Keep keep_of(int64_t tokens) const;               // what a batch of so many tokens keeps
  void reserve(int64_t tokens, bool dora = false);  // dora: some row has it
  Keep keep() const { return kept_; }               // since the last reserve()
  LayerActivations layer(int64_t layer);
  float* hidden() { return hidden_.data(); }     // after the final norm [tokens, padded(hidden)]
  float* final_input() { return final_input_; }  // before it
  float* final_factor() { return final_factor_; }

  // Scratch within a layer, [tokens, …] each. What stands on one line shares its space with what follows it there, or
  // on the same line: no two of them are needed at a time (linears_backward writes dx when it is done with x).
  struct Scratch {
    float *normed, *projected, *dh;  // [hidden]: input of linear layers; output of o and down; gradient of normed
    float *act, *dact;               // [intermediate], which share their space with all of the next line
    float *k, *v, *dattention, *dq, *dk, *dv, *qkv;
    // A row of k and v (and of dk and dv). Where q, k and v are one linear layer they lie in qkv's rows, which have
    // this width, behind q; otherwise qkv is null.
    int64_t kv_row;
    float *dx, *du;          // backward only; dx has the space of hidden()
    int64_t u_row;           // floats of a row of u and du
    float *cosine, *sine;    // [tokens, rotated_pairs()]
    float* attention;        // per thread
    RoundedScratch rounded;  // for the widest input of linear layers; for the widest dy of several
  };
  const Scratch& scratch() const { return scratch_; }

  // Space for the gradients of gate and up, or of qkv, where DoRA needs them beside the outputs (linear.h). Taken by
  // the first call.
  float* magnitudes();

 private:
  const Context& context_;
  std::string role_;
  const files::ModelConfig& config_;
  Dtype dtype_;
  int64_t rank_;
  Keep keep_, kept_;
  int64_t most_bytes_;
  bool keeps_kv_ = false;
  int64_t tokens_ = 0, input_stride_ = 0, layer_stride_ = 0;
  Buffer layers_, hidden_, work_, magnitudes_;
  Bf16Buffer rounded_;
  ByteBuffer quantized_;
  float *final_input_ = nullptr, *final_factor_ = nullptr;
  LayerActivations first_{};
  Scratch scratch_{};
};

// Exactly what Activations takes for a batch of so many tokens. dora: a backward pass with DoRA in some row.
int64_t activation_bytes(const files::ModelConfig& config, Dtype dtype, int64_t tokens, int64_t max_padded_rank,
                         Keep keep, int threads, bool dora = false);

}  // namespace candor::engine
