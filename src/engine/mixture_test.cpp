// Sampling from the geometric mixture of a role and the model alone: its ends are the two, its log-probabilities are
// those of the mixed logits, and no other row changes a bit.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/sampler.h"
#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;

struct Mixtures : public ::testing::Test {
  Bench bench{2};
  Model model = bench.random_model();
  Adapter adapter = bench.random_adapter(model, 4);
  SamplingOptions options;

  Mixtures() {
    options.max_new_tokens = 40;  // across pages
    options.temperature = 0.8;
    options.seed = 5;
  }
  std::vector<std::vector<Completion>> draw(const std::vector<SampleRequest>& requests) {
    return sample(*bench.context, model, &adapter, requests, options, nullptr, {});
  }
  SampleRequest request(double share, int64_t length = 21, uint32_t number = 3, int64_t completions = 1) const {
    SampleRequest out{testing::random_ids(length, 1100, number), completions};
    out.reference_share = share;
    return out;
  }
  // Log-probabilities of every token after these.
  std::vector<double> every(const Adapter* role, const std::vector<int32_t>& prompt) {
    std::vector<int32_t> all(1100);
    RolloutGroup group{prompt, {}};
    for (int32_t v = 0; v < 1100; ++v) {
      all[v] = v;
      group.completions.emplace_back(std::span(all).subspan(v, 1));
    }
    PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kOneLayer);
    const HeadOutput& out = pass.forward(role, {&group, 1}, 1.0);
    return {out.logprobs.begin(), out.logprobs.end()};
  }
};

void expect_same(const Completion& a, const Completion& b) {
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_EQ(a.logprobs, b.logprobs);
  EXPECT_EQ(a.policy_logprobs, b.policy_logprobs);
  EXPECT_EQ(a.entropy, b.entropy);
}

TEST_F(Mixtures, TheWholeShareIsTheModelAlone) {
  SampleRequest alone = request(0);
  alone.adapter = nullptr;
  const auto mixed = draw({request(1)}), expected = draw({alone}), policy = draw({request(0)});
  expect_same(mixed[0][0], expected[0][0]);
  EXPECT_NE(mixed[0][0].logprobs, policy[0][0].logprobs);
}

TEST_F(Mixtures, LogprobsAreThoseOfTheMixedLogits) {
  for (const double share : {0.3, 0.5}) {
    const SampleRequest asked = request(share);
    const Completion drawn = draw({asked})[0][0];
    std::vector<int32_t> prompt = asked.prompt;
    for (const size_t t : {size_t{0}, size_t{1}, size_t{2}}) {
      const auto policy = every(&adapter, prompt), reference = every(nullptr, prompt);
      double sum = 0;
      for (size_t v = 0; v < policy.size(); ++v) sum += std::exp((1 - share) * policy[v] + share * reference[v]);
      const auto token = static_cast<size_t>(drawn.ids[t]);
      const double expected = (1 - share) * policy[token] + share * reference[token] - std::log(sum);
      EXPECT_NEAR(drawn.logprobs[t], expected, 5e-6);  // float32 log-probabilities near 7 and their sum
      EXPECT_GT(std::abs(expected - policy[token]), 1e-4) << "the two roles are the same here: nothing is shown";
      prompt.push_back(drawn.ids[t]);
    }
  }
}

TEST_F(Mixtures, OtherRowsChangeNoBit) {
  const std::vector<SampleRequest> requests = {request(0, 21, 1), request(0.5, 21, 2), request(0, 5, 3, 3),
                                               request(0.5, 40, 4), request(0.25, 16, 5)};
  const auto together = draw(requests);
  options.max_rows = 1;
  const auto apart = draw(requests);
  for (size_t i = 0; i < requests.size(); ++i)
    for (size_t g = 0; g < together[i].size(); ++g) expect_same(together[i][g], apart[i][g]);
}

}  // namespace
}  // namespace candor::engine
