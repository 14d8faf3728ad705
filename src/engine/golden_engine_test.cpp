// The random model of testing.h against tests/golden/engine: a decoder with LoRA in plain Python doubles. It needs
// nothing beside the checkout, so a bare clone still compares with numbers that another program computed.
#include <gtest/gtest.h>

#include "engine/testing.h"
#include "support/golden_model.h"

namespace candor::engine {
namespace {

using candor::testing::expect_within;
using candor::testing::worst_difference;
using testing::Bench;

nlohmann::json expected_numbers() {
  return candor::testing::json_of(candor::testing::source_dir() / "tests/golden/engine/expected.json");
}

// Three layers of float32 at logits up to 20, divided by the temperature: some 10 units in the last place.
constexpr double kTolerance = 3e-5;

class GoldenEngine : public ::testing::TestWithParam<const char*> {
 protected:
  GoldenEngine()
      : bench_(2, GetParam()),
        model_(bench_.random_model()),
        adapter_(bench_.random_adapter(model_)),
        expected_(expected_numbers()),
        prompt_(expected_.at("prompt").get<std::vector<int32_t>>()),
        completion_(expected_.at("completion").get<std::vector<int32_t>>()),
        group_{prompt_, {completion_}},
        pass_(*bench_.context, "policy", model_, adapter_.max_padded_rank, PolicyPass::Keep::kAllLayers) {}
  std::vector<double> numbers(const char* name) const { return expected_.at(name).get<std::vector<double>>(); }

  Bench bench_;
  Model model_;
  Adapter adapter_;
  nlohmann::json expected_;
  std::vector<int32_t> prompt_, completion_;
  RolloutGroup group_;
  PolicyPass pass_;
};

TEST_P(GoldenEngine, SequencesAreTheScripts) {
  EXPECT_EQ(testing::random_ids(21, 1100, 1), prompt_);
  EXPECT_EQ(testing::random_ids(14, 1100, 3), completion_);
}

TEST_P(GoldenEngine, LogprobsAndEntropy) {
  const HeadOutput policy = pass_.forward(&adapter_, {&group_, 1}, 0.7);
  expect_within("logprobs", worst_difference(policy.logprobs, numbers("logprobs")), kTolerance);
  expect_within("entropy", worst_difference(policy.entropy, numbers("entropy")), kTolerance);
  const HeadOutput reference = pass_.forward(nullptr, {&group_, 1}, 0.7);
  expect_within("reference", worst_difference(reference.logprobs, numbers("reference_logprobs")), kTolerance);
  EXPECT_GT(worst_difference(policy.logprobs, numbers("reference_logprobs")), 100 * kTolerance);  // the adapter matters
}

TEST_P(GoldenEngine, Logits) {
  std::vector<int32_t> inputs = prompt_;
  inputs.insert(inputs.end(), completion_.begin(), completion_.end() - 1);
  candor::testing::RowsForward forward(*bench_.context, model_, &adapter_, {inputs}, Activations::Keep::kOneLayer);
  const auto logits = forward.logits(forward.tokens() - 1, forward.tokens());
  std::vector<float> some;
  for (size_t id = 0; id < logits.size(); id += 50) some.push_back(logits[id]);
  expect_within("logits", worst_difference(some, numbers("last_logits_every_50th")), kTolerance);
}

// The derivative of one objective along one direction in the space of each tensor.
TEST_P(GoldenEngine, Derivatives) {
  const size_t count = completion_.size();
  std::vector<float> dlogprob, dentropy;
  for (size_t i = 0; i < count; ++i) {
    dlogprob.push_back(static_cast<float>(0.3 * static_cast<double>(i % 5) - 0.5));
    dentropy.push_back(static_cast<float>(0.2 * static_cast<double>(i % 3) - 0.1));
  }
  std::vector<float> gradients(static_cast<size_t>(adapter_.parameters.size()), 0.0f);
  pass_.forward(&adapter_, {&group_, 1}, 0.7);
  pass_.backward(trainable_of(adapter_), dlogprob, dentropy, gradients.data());
  size_t checked = 0;
  for (const LoraPair& pair : adapter_.pairs)
    for (const bool is_a : {true, false}) {
      const auto gradient = candor::testing::lora_tensors(pair)[is_a ? 0 : 1].of(gradients.data());
      const auto columns = static_cast<size_t>(is_a ? pair.in : pair.rank);
      double derivative = 0, size = 0;
      for (size_t i = 0; i < gradient.size(); ++i) {
        derivative += ((i / columns + i % columns) % 3 != 0 ? 1.0 : -1.0) * static_cast<double>(gradient[i]);
        size += std::abs(static_cast<double>(gradient[i]));
      }
      const std::string name = pair.module + (is_a ? ".lora_A" : ".lora_B");
      // Terms of both signs: their rounding (5e-6 of a tensor's size) stays when they cancel.
      expect_within(name, std::abs(derivative - expected_.at("derivatives").at(name).get<double>()), 5e-6 * size);
      ++checked;
    }
  EXPECT_EQ(checked, expected_.at("derivatives").size());
}

INSTANTIATE_TEST_SUITE_P(Levels, GoldenEngine, ::testing::Values("plain", ""),
                         [](const auto& info) { return *info.param == '\0' ? "best" : "plain"; });

}  // namespace
}  // namespace candor::engine
