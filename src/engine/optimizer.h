// AdamW on what is trained, with clipping by the global norm.
#pragma once

#include <cstdint>

#include "engine/trainable.h"

namespace candor::engine {

struct AdamwOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0.0;
  double max_grad_norm = 1.0;  // 0 = no clipping
  // LoRA+ (arXiv 2402.12354): what an adapter's B, and DoRA's magnitudes, multiply the learning rate with; and both
  // matrices of an adapted embedding. 1 = none of it.
  double b_ratio = 1.0, embedding_ratio = 1.0;
};

struct AdamwState {
  Buffer m, v;        // Trainable::floats
  int64_t steps = 0;  // taken so far
};

AdamwState make_adamw(const Context& context, const Trainable& trainable);

// The L2 norm over all gradients, tensor after tensor in double.
double gradient_norm(const Context& context, const Trainable& trainable, const float* gradients);

// Clips by min(1, max_grad_norm/(norm + 1e-6)) as PyTorch does and takes one step; an adapter is repacked.
void adamw_step(const Context& context, const AdamwOptions& options, double learning_rate, double norm,
                const float* gradients, AdamwState& state, const Trainable& trainable);

}  // namespace candor::engine
