// The distance of two models against the definition, from whole rows of logits in double.
#include "eval/model_distance.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "engine/score.h"
#include "engine/testing.h"
#include "support/golden_model.h"

namespace candor::eval {
namespace {

using engine::testing::Bench;
using engine::testing::random_ids;
using ::testing::HasSubstr;

const std::vector<std::vector<int32_t>>& texts() {
  static const std::vector<std::vector<int32_t>> ids = {random_ids(70, 1100, 1), random_ids(1, 1100, 2),
                                                        random_ids(33, 1100, 3)};
  return ids;
}

// All tokens but the first count; of the last text every second one.
std::vector<std::vector<uint8_t>> masks() {
  std::vector<std::vector<uint8_t>> all;
  for (const auto& ids : texts()) all.emplace_back(ids.size(), uint8_t{1}), all.back()[0] = 0;
  for (size_t t = 2; t < all.back().size(); t += 2) all.back()[t] = 0;
  return all;
}

std::vector<double> log_softmax(const float* logits, int64_t n) {
  double sum = 0, top = *std::max_element(logits, logits + n);
  for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(logits[i]) - top);
  std::vector<double> result;
  for (int64_t i = 0; i < n; ++i) result.push_back(static_cast<double>(logits[i]) - top - std::log(sum));
  return result;
}

TEST(ModelDistance, IsTheDefinition) {
  Bench bench;
  const engine::Model original = bench.random_model(1), changed = bench.random_model(2);
  const auto distances = model_distances(*bench.context, original, changed, texts(), masks(), {});
  ASSERT_EQ(distances.size(), 3u);
  candor::testing::RowsForward ours(*bench.context, original, nullptr, texts(), engine::Activations::Keep::kOneLayer),
      theirs(*bench.context, changed, nullptr, texts(), engine::Activations::Keep::kOneLayer);
  const std::vector<float> a = ours.logits(0, ours.tokens()), b = theirs.logits(0, theirs.tokens());
  const int64_t vocabulary = original.config.vocab_size;
  int64_t row = 0;
  for (size_t text = 0; text < texts().size(); ++text) {
    TextDistance expected;
    for (size_t t = 1; t <= texts()[text].size(); ++t, ++row) {
      if (t == texts()[text].size() || masks()[text][t] == 0) continue;
      const auto p = log_softmax(a.data() + row * vocabulary, vocabulary),
                 q = log_softmax(b.data() + row * vocabulary, vocabulary);
      const auto target = static_cast<size_t>(texts()[text][t]);
      expected.nll_nats -= p[target];
      expected.changed_nll_nats -= q[target];
      for (size_t i = 0; i < p.size(); ++i) expected.kl_nats += std::exp(p[i]) * (p[i] - q[i]);
      expected.same_choice +=
          std::max_element(p.begin(), p.end()) - p.begin() == std::max_element(q.begin(), q.end()) - q.begin();
      ++expected.tokens;
    }
    EXPECT_EQ(distances[text].tokens, expected.tokens);
    EXPECT_EQ(distances[text].same_choice, expected.same_choice);
    EXPECT_NEAR(distances[text].nll_nats, expected.nll_nats, 1e-4);  // float32 log-probabilities of 70 tokens
    EXPECT_NEAR(distances[text].changed_nll_nats, expected.changed_nll_nats, 1e-4);
    EXPECT_NEAR(distances[text].kl_nats, expected.kl_nats, 1e-4);
    EXPECT_TRUE(expected.tokens == 0 || expected.kl_nats > 0.1);  // two models that have nothing in common
  }
  EXPECT_EQ(distances[1].tokens, 0);
}

TEST(ModelDistance, AModelIsNotAwayFromItselfAndAgreesWithScore) {
  Bench bench;
  const engine::Model model = bench.random_model(1);
  auto all = masks();
  for (auto& mask : all) std::fill(mask.begin() + 1, mask.end(), uint8_t{1});
  const auto distances = model_distances(*bench.context, model, model, texts(), all, {});
  engine::score_sequences(*bench.context, model, nullptr, texts(), [&](size_t i, const engine::SequenceScore& score) {
    double nll = 0;
    for (const float logprob : score.logprobs) nll -= static_cast<double>(logprob);
    EXPECT_EQ(distances[i].nll_nats, nll);
    EXPECT_EQ(distances[i].changed_nll_nats, nll);
    EXPECT_EQ(distances[i].kl_nats, 0);
    EXPECT_EQ(distances[i].same_choice, distances[i].tokens);
    return true;
  });
}

TEST(ModelDistance, SummaryIsOverAllTokens) {
  const std::vector<TextDistance> some = {{10, 20, 25, 1, 9}, {0, 0, 0, 0, 0}, {30, 90, 95, 5, 15}};
  const auto summary = summarize(some);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->texts, 2);
  EXPECT_EQ(summary->tokens, 40);
  EXPECT_DOUBLE_EQ(summary->perplexity, std::exp(110.0 / 40));
  EXPECT_DOUBLE_EQ(summary->changed_perplexity, std::exp(120.0 / 40));
  EXPECT_DOUBLE_EQ(summary->difference_nats, 0.25);
  EXPECT_DOUBLE_EQ(summary->kl_nats, 0.15);
  EXPECT_DOUBLE_EQ(summary->same_choice, 0.6);
  // Around the mean per token, not that of the texts' means: 0.15 + (1 − 0.15·10)·2/40 and 0.15 + (5 − 0.15·30)·2/40.
  EXPECT_DOUBLE_EQ(summary->kl_interval.low, 0.125);
  EXPECT_DOUBLE_EQ(summary->kl_interval.high, 0.175);
}

TEST(ModelDistance, NothingToCountAndNumbersThatAreNone) {
  EXPECT_THAT(summarize({}).error().message, HasSubstr("[evaluate] no token counts in these texts."));
  const std::vector<TextDistance> nan = {{10, 20, NAN, 1, 9}};
  EXPECT_THAT(summarize(nan).error().message, HasSubstr("[evaluate] text 1 has the likelihoods 20 and nan nats."));
}

}  // namespace
}  // namespace candor::eval
