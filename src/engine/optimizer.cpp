#include "engine/optimizer.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace candor::engine {

AdamwState make_adamw(const Context& context, const Adapter& adapter) {
  return {Buffer(context.ledger, "optimizer", "first moments", adapter.parameters.size()),
          Buffer(context.ledger, "optimizer", "second moments", adapter.parameters.size()), 0};
}

double gradient_norm(const Context& context, const Adapter& adapter, const float* gradients) {
  std::vector<double> squares(adapter.pairs.size());
  context.pool.run(static_cast<int64_t>(adapter.pairs.size()), [&](int64_t i, int) {
    const LoraPair& pair = adapter.pairs[i];
    squares[i] = context.kernels.sum_of_squares(gradients + pair.a_offset, pair.a_size()) +
                 context.kernels.sum_of_squares(gradients + pair.b_offset, pair.b_size());
  });
  double sum = 0;
  for (double square : squares) sum += square;
  return std::sqrt(sum);
}

void adamw_step(const Context& context, const AdamwOptions& options, double learning_rate, double norm,
                const float* gradients, AdamwState& state, Adapter& adapter) {
  ++state.steps;
  double power1 = 1, power2 = 1;  // beta^t by multiplication: pow() differs between processors
  for (int64_t i = 0; i < state.steps; ++i) {
    power1 *= options.beta1;
    power2 *= options.beta2;
  }
  const double clip = options.max_grad_norm > 0 ? std::min(1.0, options.max_grad_norm / (norm + 1e-6)) : 1.0;
  const AdamwStep step{learning_rate,        options.beta1, options.beta2, options.epsilon,
                       options.weight_decay, 1.0 - power1,  1.0 - power2,  clip};
  constexpr int64_t kChunk = 1 << 16;
  const int64_t size = adapter.parameters.size();
  context.pool.run((size + kChunk - 1) / kChunk, [&](int64_t chunk, int) {
    const int64_t first = chunk * kChunk;
    context.kernels.adamw(step, gradients + first, std::min(kChunk, size - first), adapter.parameters.data() + first,
                          state.m.data() + first, state.v.data() + first);
  });
  pack_adapter(context, adapter);
}

}  // namespace candor::engine
