#include "engine/optimizer.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace candor::engine {

AdamwState make_adamw(const Context& context, const Trainable& trainable) {
  return {Buffer(context.ledger, "optimizer", "first moments", trainable.floats),
          Buffer(context.ledger, "optimizer", "second moments", trainable.floats), 0};
}

double gradient_norm(const Context& context, const Trainable& trainable, const float* gradients) {
  const std::vector<ParameterTensor>& tensors = trainable.tensors;
  std::vector<double> squares(tensors.size());
  context.pool.run(static_cast<int64_t>(tensors.size()), [&](int64_t i, int) {
    squares[i] = context.kernels.sum_of_squares(gradients + tensors[i].offset, tensors[i].size);
  });
  double sum = 0;
  for (double square : squares) sum += square;
  return std::sqrt(sum);
}

void adamw_step(const Context& context, const AdamwOptions& options, double learning_rate, double norm,
                const float* gradients, AdamwState& state, const Trainable& trainable) {
  ++state.steps;
  double power1 = 1, power2 = 1;  // beta^t by multiplication: pow() differs between processors
  for (int64_t i = 0; i < state.steps; ++i) {
    power1 *= options.beta1;
    power2 *= options.beta2;
  }
  const double clip = options.max_grad_norm > 0 ? std::min(1.0, options.max_grad_norm / (norm + 1e-6)) : 1.0;
  const AdamwStep step{learning_rate,        options.beta1, options.beta2, options.epsilon,
                       options.weight_decay, 1.0 - power1,  1.0 - power2,  clip};
  struct Stretch {
    const ParameterTensor* tensor;
    int64_t first;  // of its floats
  };
  constexpr int64_t kStretch = 1 << 16;
  std::vector<Stretch> stretches;
  for (const ParameterTensor& tensor : trainable.tensors)
    for (int64_t first = 0; first < tensor.size; first += kStretch) stretches.push_back({&tensor, first});
  context.pool.run(static_cast<int64_t>(stretches.size()), [&](int64_t i, int) {
    const auto [tensor, first] = stretches[i];
    const int64_t at = tensor->offset + first;
    AdamwStep own = step;
    if (!tensor->decay) own.weight_decay = 0;
    if (tensor->group == ParameterGroup::kB) own.learning_rate *= options.b_ratio;
    if (tensor->group == ParameterGroup::kEmbeddingPair) own.learning_rate *= options.embedding_ratio;
    context.kernels.adamw(own, gradients + at, std::min(kStretch, tensor->size - first), tensor->values + first,
                          state.m.data() + at, state.v.data() + at);
  });
  if (trainable.adapter != nullptr) pack_adapter(context, *trainable.adapter);
  if (trainable.model != nullptr) round_master_weights(context, *trainable.model);
}

}  // namespace candor::engine
