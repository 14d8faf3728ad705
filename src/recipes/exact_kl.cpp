#include "recipes/exact_kl.h"

#include <algorithm>

namespace candor::recipes {

double exact_kl(engine::PolicyPass& policy, engine::PolicyPass& reference, const engine::Adapter& adapter,
                const Rollouts& rollouts, double temperature) {
  double sum = 0;
  int64_t tokens = 0;
  for (int64_t g = 0; g < rollouts.groups; ++g) {
    const engine::RolloutGroup group = rollouts.group(g);
    policy.forward(&adapter, {&group, 1}, temperature);
    reference.forward(nullptr, {&group, 1}, temperature);
    for (const double kl : policy.divergence(reference.head_view(), 1.0).values) sum += kl, ++tokens;
  }
  return sum / static_cast<double>(std::max<int64_t>(tokens, 1));
}

}  // namespace candor::recipes
