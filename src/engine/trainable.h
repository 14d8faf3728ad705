// What a training changes: an adapter, or all weights of a model (full fine-tuning), and the role's scalar head.
//
// Either is a list of tensors. Gradients and the optimizer's moments are flat buffers, in which a tensor lies at its
// offset exactly as its values do, padding included: a weight as packed panels, so that the optimizer is one loop over
// elements. Padding has zero gradients and stays zero.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/adapter.h"
#include "engine/model.h"
#include "engine/scalar_head.h"

namespace candor::engine {

// What LoRA+ tells apart: B and DoRA's magnitudes; both matrices of an adapted embedding; all else.
enum class ParameterGroup { kOther, kB, kEmbeddingPair };

struct ParameterTensor {
  std::string name;  // Hugging Face's or PEFT's
  float* values = nullptr;
  int64_t size = 0;    // floats
  int64_t offset = 0;  // into gradients and moments
  bool decay = true;   // weight decay applies: not to norms and biases, as Transformers' Trainer has it
  ParameterGroup group = ParameterGroup::kOther;
};

// Where in a gradient buffer the gradients of whole weights lie; -1: not trained.
struct WeightOffsets {
  struct Layer {
    int64_t attention_norm = -1, attention_norm_bias = -1, mlp_norm = -1, mlp_norm_bias = -1;
    std::array<int64_t, kLinears> weight, bias;
    Layer() {
      weight.fill(-1);
      bias.fill(-1);
    }
  };
  int64_t embedding = -1, positions = -1, head = -1, final_norm = -1, final_norm_bias = -1;
  int64_t scalar_weight = -1, scalar_bias = -1;  // of the scalar head
  std::vector<Layer> layers;
};

struct Trainable {
  // At most one of both; none: the scalar head alone.
  Adapter* adapter = nullptr;
  Model* model = nullptr;  // its weights themselves
  std::vector<ParameterTensor> tensors;
  WeightOffsets weights;
  int64_t parameters = 0;  // without padding
  int64_t floats = 0;      // of moments
  // Of a gradient buffer. A tied embedding has two gradients there, so that each adds its tokens in row order: the
  // head's at the tensor's offset, the embedding's behind everything else, until add_tied_gradients().
  int64_t gradient_floats = 0;
};

// They refer to what they are given, which must stay where it is; a scalar head may be null. A model's weights are
// trained in place: it must have passed check_full_training().
Trainable trainable_of(Adapter& adapter, ScalarHead* scalar_head = nullptr);
Trainable trainable_of(Model& model, ScalarHead* scalar_head = nullptr);
Trainable trainable_of(ScalarHead& scalar_head);

// Error: there are no float32 weights, only rounded ones, in which small steps would be lost; a bfloat16 model needs
// add_master_weights() first.
Result<void> check_full_training(const Model& model);

// Adds the two gradients of a tied embedding into one. Once per step, behind the last backward pass
// (GradientShards::reduce does it).
void add_tied_gradients(const Context& context, const Trainable& trainable, float* gradients);

}  // namespace candor::engine
