#include "recipes/exact_kl.h"

#include <gtest/gtest.h>

#include "algorithms/distillation.h"
#include "engine/testing.h"
#include "support/golden_model.h"

namespace candor::recipes {
namespace {

using candor::testing::RowsForward;
using engine::testing::Bench;
using engine::testing::random_ids;

TEST(ExactKl, IsTheMeanOverWholeDistributions) {
  Bench bench;
  const engine::Model model = bench.random_model();
  const engine::Adapter adapter = bench.random_adapter(model);
  Rollouts rollouts;
  rollouts.groups = 2;
  rollouts.group_size = 2;
  for (uint32_t g = 0; g < 2; ++g) {
    rollouts.prompts.push_back(random_ids(5 + g, 1100, 10 * g));
    for (uint32_t i = 0; i < 2; ++i) {
      engine::Completion completion;
      completion.ids = random_ids(3 + 2 * i, 1100, 10 * g + i + 1);
      rollouts.completions.push_back(completion);
    }
  }
  const auto mean = [&](double beta) {
    double sum = 0, tokens = 0;
    std::vector<double> unused(1100);
    for (size_t i = 0; i < 4; ++i) {
      std::vector<int32_t> ids = rollouts.prompts[i / 2];
      const auto first = static_cast<int64_t>(ids.size()) - 1;
      const std::vector<int32_t>& completion = rollouts.completions[i].ids;
      ids.insert(ids.end(), completion.begin(), completion.end());
      const auto logits = [&](const engine::Adapter* with) {
        RowsForward forward(*bench.context, model, with, {ids}, engine::Activations::Keep::kOneLayer);
        const std::vector<float> all = forward.logits(first, static_cast<int64_t>(ids.size()) - 1);
        return std::vector<double>(all.begin(), all.end());
      };
      const std::vector<double> policy = logits(&adapter), reference = logits(nullptr);
      for (size_t t = 0; t < completion.size(); ++t, ++tokens)
        sum += algorithms::token_divergence(std::span(policy).subspan(1100 * t, 1100),
                                            std::span(reference).subspan(1100 * t, 1100), beta, 0.7, unused);
    }
    return sum / tokens;
  };
  engine::PolicyPass policy(*bench.context, "policy", model, adapter.max_padded_rank,
                            engine::PolicyPass::Keep::kAllLayers);
  engine::PolicyPass reference(*bench.context, "reference", model, 0, engine::PolicyPass::Keep::kOneLayer);
  const double kl = exact_kl(policy, reference, adapter, rollouts, 0.7);
  EXPECT_NEAR(kl, mean(1), 5e-6);           // float32 logits up to 20
  EXPECT_GT(std::abs(kl - mean(0)), 1e-3);  // the other direction
  EXPECT_EQ(exact_kl(policy, reference, adapter, Rollouts(), 0.7), 0);
}

}  // namespace
}  // namespace candor::recipes
