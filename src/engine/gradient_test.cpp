// The backward pass against finite differences: the derivative of a weighted sum of log-probabilities and entropies
// along random directions in parameter space.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;
using testing::random_ids;

struct Case {
  std::vector<int32_t> prompt = random_ids(21, 1100, 1), first = random_ids(9, 1100, 2),
                       second = random_ids(14, 1100, 3);
  RolloutGroup group() const { return {prompt, {first, second}}; }
};

// Σ c_i·logprob_i + e_i·entropy_i, in double.
double objective(PolicyPass& pass, const Adapter& adapter, const RolloutGroup& group, const std::vector<float>& c,
                 const std::vector<float>& e) {
  const HeadOutput& out = pass.forward(&adapter, {&group, 1}, 0.7);
  double sum = 0;
  for (size_t i = 0; i < out.logprobs.size(); ++i)
    sum += static_cast<double>(c[i]) * static_cast<double>(out.logprobs[i]) +
           static_cast<double>(e[i]) * static_cast<double>(out.entropy[i]);
  return sum;
}

// Relative error of the directional derivative, per adapted linear, so that one wrong layer cannot hide.
void check_gradient(const char* level, float twist) {
  Bench bench(2, level);
  const Model model = bench.random_model();
  Adapter adapter = bench.random_adapter(model);
  const Case data;
  const RolloutGroup group = data.group();
  PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
  std::vector<float> c, e;
  for (size_t i = 0; i < 23; ++i) {
    c.push_back(0.3f * static_cast<float>(i % 5) - 0.5f);
    e.push_back(0.2f * static_cast<float>(i % 3) - 0.1f);
  }
  std::vector<float> gradients(static_cast<size_t>(adapter.parameters.size()), 0.0f);
  objective(pass, adapter, group, c, e);
  pass.backward(trainable_of(adapter), c, e, gradients.data());
  double worst = 0;
  for (size_t p = 0; p < adapter.pairs.size(); ++p) {
    const LoraPair& pair = adapter.pairs[p];
    for (const bool is_a : {true, false}) {
      const int64_t offset = is_a ? pair.a_offset : pair.b_offset, size = is_a ? pair.a_size() : pair.b_size();
      const int64_t width = is_a ? padded(pair.in) : padded(pair.rank), rows = is_a ? pair.rank : pair.out;
      const int64_t columns = is_a ? pair.in : pair.rank;
      const std::vector<float> saved(adapter.parameters.data() + offset, adapter.parameters.data() + offset + size);
      std::vector<float> direction(static_cast<size_t>(size), 0.0f);
      double expected = 0, norm = 0;
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t k = 0; k < columns; ++k) {
          const int64_t i = row * width + k;
          // The gradient's own sign pattern, so that the directional derivative is its 1-norm and cannot cancel.
          direction[i] = gradients[offset + i] >= 0 ? 1.0f : -1.0f;
          expected += std::abs(static_cast<double>(gradients[offset + i])) * static_cast<double>(twist);
          norm += 1;
        }
      ASSERT_GT(expected, 0) << module_path(pair.layer, pair.linear);
      const double step = 2e-3 / std::sqrt(norm);
      double values[2];
      for (const int side : {0, 1}) {
        for (int64_t i = 0; i < size; ++i)
          adapter.parameters[offset + i] = saved[i] + static_cast<float>(side == 0 ? -step : step) * direction[i];
        pack_adapter(*bench.context, adapter);
        values[side] = objective(pass, adapter, group, c, e);
      }
      std::copy(saved.begin(), saved.end(), adapter.parameters.data() + offset);
      worst = std::max(worst, std::abs((values[1] - values[0]) / (2 * step) - expected) / expected);
    }
  }
  // Forward differences of a float32 forward: rounding of about 23 terms of 1e-6 over 2·2e-3/sqrt(n)·derivative, and
  // the second-order term; a wrong factor anywhere is off by far more.
  if (twist == 1.0f)
    EXPECT_LT(worst, 2e-2) << level;  // reason above
  else
    EXPECT_GT(worst, 4e-2) << level;  // the broken twin: gradients 5% too large
}

TEST(Backward, MatchesFiniteDifferences) {
  check_gradient("plain", 1.0f);
  check_gradient("", 1.0f);
}

TEST(Backward, BrokenTwinIsRejected) {
  check_gradient("", 1.05f);
}

}  // namespace
}  // namespace candor::engine
