// One draw from a row of logits: which tokens may come, how often, and what is reported about the one that came.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/draw.h"
#include "engine/head.h"
#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;
using ::testing::ElementsAre;

class DrawToken : public ::testing::TestWithParam<const char*> {
 protected:
  Draw draw(const std::vector<float>& logits, const SamplingOptions& options, double uniform) {
    return draw_token(bench_.context->kernels, logits.data(), static_cast<int64_t>(logits.size()), options, {}, uniform,
                      scratch_);
  }
  // Every token that some uniform number gives.
  std::set<int32_t> reachable(const std::vector<float>& logits, const SamplingOptions& options) {
    std::set<int32_t> tokens;
    for (int i = 0; i < 4000; ++i) tokens.insert(draw(logits, options, i / 4000.0).token);
    return tokens;
  }
  Bench bench_{2, GetParam()};
  DrawScratch scratch_;
};

// Logits whose softmax is p.
std::vector<float> logits_of(const std::vector<double>& p) {
  std::vector<float> logits;
  for (double value : p) logits.push_back(static_cast<float>(std::log(value) + 3));
  return logits;
}

// Log-probabilities at a temperature, in double.
std::vector<double> log_softmax(const std::vector<float>& logits, double temperature) {
  double sum = 0;
  for (float z : logits) sum += std::exp(static_cast<double>(z) / temperature);
  std::vector<double> out;
  for (float z : logits) out.push_back(static_cast<double>(z) / temperature - std::log(sum));
  return out;
}

std::vector<float> random_logits(size_t count, uint32_t row) {
  std::vector<float> logits;
  for (size_t i = 0; i < count; ++i)
    logits.push_back(static_cast<float>(10 * random_uniform({1, RngStream::kData, 9, row}, i) - 5));
  return logits;
}

TEST_P(DrawToken, GreedyTakesTheSmallestIdOfATie) {
  SamplingOptions options;
  options.temperature = 0;
  std::vector<float> logits = random_logits(1100, 0);  // three vocabulary blocks
  logits[1050] = logits[700] = logits[530] = 7.5f;
  const Draw drawn = draw(logits, options, 0.99);
  EXPECT_EQ(drawn.token, 530);
  EXPECT_NEAR(drawn.logprob, log_softmax(logits, 1)[530], 1e-6);  // 2 ulp at 2
  EXPECT_EQ(drawn.policy_logprob, drawn.logprob);
  EXPECT_EQ(drawn.sampling_logprob, 0.0f);
  logits[1099] = 7.6f;
  EXPECT_EQ(draw(logits, options, 0).token, 1099);
}

TEST_P(DrawToken, ReportsBothTemperatures) {
  const std::vector<float> logits = random_logits(1100, 1);
  for (const double temperature : {0.3, 0.7, 1.0, 2.5}) {
    SamplingOptions options;
    options.temperature = temperature;
    const auto plain = log_softmax(logits, 1), policy = log_softmax(logits, temperature);
    double entropy = 0;
    for (double l : policy) entropy -= std::exp(l) * l;
    for (double u = 0.005; u < 1; u += 0.05) {
      const Draw drawn = draw(logits, options, u);
      EXPECT_NEAR(drawn.logprob, plain[static_cast<size_t>(drawn.token)], 2e-6);  // 4 ulp at 8
      // z/T is rounded in float32, at |z/T| up to 17: 2 ulp of that.
      EXPECT_NEAR(drawn.policy_logprob, policy[static_cast<size_t>(drawn.token)], 4e-6);
      EXPECT_EQ(drawn.sampling_logprob, drawn.policy_logprob);  // nothing truncated
      EXPECT_NEAR(drawn.entropy, entropy, 4e-6);
    }
  }
}

TEST_P(DrawToken, UniformRunsThroughTheCumulativeDistribution) {
  const std::vector<float> logits = logits_of({0.25, 0.125, 0.5, 0.125});
  SamplingOptions options;
  EXPECT_EQ(draw(logits, options, 0).token, 0);
  EXPECT_EQ(draw(logits, options, 0.249).token, 0);
  EXPECT_EQ(draw(logits, options, 0.251).token, 1);
  EXPECT_EQ(draw(logits, options, 0.376).token, 2);
  EXPECT_EQ(draw(logits, options, 0.874).token, 2);
  EXPECT_EQ(draw(logits, options, 0.876).token, 3);
  EXPECT_EQ(draw(logits, options, std::nextafter(1.0, 0.0)).token, 3);
  const std::vector<float> far = {-200.0f, 0.0f, -200.0f};  // exp underflows: such a token never comes
  EXPECT_EQ(draw(far, options, 0).token, 1);
  EXPECT_EQ(draw(far, options, std::nextafter(1.0, 0.0)).token, 1);
}

TEST_P(DrawToken, TopKKeepsTheLikeliestAndTiesById) {
  SamplingOptions options;
  options.top_k = 3;
  EXPECT_THAT(reachable(logits_of({0.1, 0.3, 0.1, 0.2, 0.15, 0.15}), options), ElementsAre(1, 3, 4));
  options.top_k = 1;
  EXPECT_THAT(reachable(logits_of({0.1, 0.4, 0.4, 0.1}), options), ElementsAre(1));
  options.top_k = 100;  // more than there are
  EXPECT_THAT(reachable(logits_of({0.1, 0.4, 0.4, 0.1}), options), ElementsAre(0, 1, 2, 3));
}

TEST_P(DrawToken, TheNucleusIncludesTheTokenThatCrosses) {
  const std::vector<float> logits = logits_of({0.05, 0.5, 0.15, 0.3});
  auto nucleus = [&](double top_p, int64_t top_k = 0) {
    SamplingOptions options;
    options.top_p = top_p;
    options.top_k = top_k;
    return reachable(logits, options);
  };
  EXPECT_THAT(nucleus(1e-9), ElementsAre(1));  // never empty
  EXPECT_THAT(nucleus(0.49), ElementsAre(1));
  EXPECT_THAT(nucleus(0.51), ElementsAre(1, 3));
  EXPECT_THAT(nucleus(0.79), ElementsAre(1, 3));
  EXPECT_THAT(nucleus(0.81), ElementsAre(1, 2, 3));
  EXPECT_THAT(nucleus(0.96), ElementsAre(0, 1, 2, 3));
  // After top-k 2 the likeliest has 0.5/0.8 = 0.625 of what is left.
  EXPECT_THAT(nucleus(0.62, 2), ElementsAre(1));
  EXPECT_THAT(nucleus(0.63, 2), ElementsAre(1, 3));
}

TEST_P(DrawToken, MinPIsRelativeToTheLikeliest) {
  const std::vector<float> logits = logits_of({0.05, 0.5, 0.15, 0.3});
  auto left = [&](double min_p, double temperature = 1.0, double top_p = 1.0) {
    SamplingOptions options;
    options.min_p = min_p;
    options.temperature = temperature;
    options.top_p = top_p;
    return reachable(logits, options);
  };
  EXPECT_THAT(left(0.09), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(left(0.11), ElementsAre(1, 2, 3));
  EXPECT_THAT(left(0.29), ElementsAre(1, 2, 3));
  EXPECT_THAT(left(0.31), ElementsAre(1, 3));
  EXPECT_THAT(left(1.0), ElementsAre(1));
  EXPECT_THAT(left(0.31, 2.0), ElementsAre(0, 1, 2, 3));  // sqrt(0.1) = 0.316: after the temperature
  EXPECT_THAT(left(0.11, 1.0, 0.7), ElementsAre(1, 3));   // after top_p
}

TEST_P(DrawToken, ATokenThatIsAloneHasProbabilityOne) {
  for (uint32_t row = 0; row < 50; ++row) {
    const std::vector<float> logits = random_logits(1100, row);
    SamplingOptions options;
    options.temperature = 0.3 + 0.05 * row;
    options.top_k = 1;
    EXPECT_EQ(draw(logits, options, 0.5).sampling_logprob, 0.0f);
    options.top_k = 2;
    EXPECT_LE(draw(logits, options, 0.1).sampling_logprob, 0.0f);
    options.top_k = 0;
    options.min_p = 1.0;
    EXPECT_EQ(draw(logits, options, 0.5).sampling_logprob, 0.0f);
  }
}

TEST_P(DrawToken, SamplingLogprobsAreNormalisedOverWhatIsLeft) {
  const std::vector<float> logits = random_logits(60, 2);
  for (const auto& [top_k, top_p] : std::vector<std::pair<int64_t, double>>{{7, 1.0}, {0, 0.8}, {9, 0.9}, {0, 1.0}}) {
    SamplingOptions options;
    options.temperature = 1.7;
    options.top_k = top_k;
    options.top_p = top_p;
    const auto policy = log_softmax(logits, options.temperature);
    std::map<int32_t, Draw> draws;
    for (int i = 0; i < 4000; ++i) {
      const Draw drawn = draw(logits, options, i / 4000.0);
      draws[drawn.token] = drawn;
    }
    double sum = 0, kept = 0;
    for (const auto& [token, drawn] : draws) {
      sum += std::exp(static_cast<double>(drawn.sampling_logprob));
      kept += std::exp(policy[static_cast<size_t>(token)]);
    }
    EXPECT_NEAR(sum, 1.0, 1e-6) << top_k << " " << top_p;  // a few ulp of the float log-probabilities
    for (const auto& [token, drawn] : draws)
      EXPECT_NEAR(drawn.sampling_logprob, policy[static_cast<size_t>(token)] - std::log(kept), 2e-6);  // 4 ulp at 5
  }
}

// Pearson's statistic of 20,000 draws against what the distribution says, over the tokens that it allows.
double chi_square(const std::map<int32_t, int>& counts, const std::map<int32_t, double>& probability) {
  double statistic = 0;
  for (const auto& [token, p] : probability) {
    const auto found = counts.find(token);
    const double expected = 20000 * p, seen = found == counts.end() ? 0 : found->second;
    statistic += (seen - expected) * (seen - expected) / expected;
  }
  return statistic;
}

TEST_P(DrawToken, FrequenciesAreTheSoftmax) {
  const std::vector<float> logits = logits_of({0.05, 0.02, 0.3, 0.08, 0.05, 0.2, 0.01, 0.04, 0.1, 0.02, 0.1, 0.03});
  for (const double temperature : {1.0, 1.6}) {
    SamplingOptions options;
    options.temperature = temperature;
    std::map<int32_t, int> counts;
    for (uint64_t i = 0; i < 20000; ++i)
      ++counts[draw(logits, options, random_uniform({21, RngStream::kSampling, 0, 0}, i)).token];
    std::map<int32_t, double> right, wrong;
    const auto policy = log_softmax(logits, temperature), other = log_softmax(logits, 1.2 * temperature);
    for (int32_t id = 0; id < 12; ++id) right[id] = std::exp(policy[id]), wrong[id] = std::exp(other[id]);
    // 11 degrees of freedom: above 37 once in 10,000 right samplers (and the draws are fixed by their seed).
    EXPECT_LT(chi_square(counts, right), 37) << temperature;
    EXPECT_GT(chi_square(counts, wrong), 37) << temperature;  // the twin: a temperature 20% off
  }
}

TEST_P(DrawToken, FrequenciesAfterTruncation) {
  const std::vector<float> logits = logits_of({0.05, 0.02, 0.3, 0.08, 0.05, 0.2, 0.01, 0.04, 0.1, 0.02, 0.1, 0.03});
  SamplingOptions options;
  options.top_k = 6;
  options.top_p = 0.9;  // of 0.83: down to 0.747, so 2, 5, 8, 10 (0.7) and 3, the one that crosses
  std::map<int32_t, int> counts;
  for (uint64_t i = 0; i < 20000; ++i)
    ++counts[draw(logits, options, random_uniform({22, RngStream::kSampling, 0, 0}, i)).token];
  EXPECT_EQ(counts.size(), 5u);
  const std::map<int32_t, double> right = {
      {2, 0.3 / 0.78}, {5, 0.2 / 0.78}, {8, 0.1 / 0.78}, {10, 0.1 / 0.78}, {3, 0.08 / 0.78}};
  EXPECT_LT(chi_square(counts, right), 24);  // 4 degrees of freedom: above 23.5 once in 10,000
}

TEST_P(DrawToken, LogprobsAreTheHeadsBitForBit) {
  const Model model = bench_.random_model();
  const int64_t rows = 40, width = padded(model.config.hidden_size), vocabulary = model.config.vocab_size;
  std::vector<float> hidden(static_cast<size_t>(rows * width), 0.0f);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < model.config.hidden_size; ++i)
      hidden[row * width + i] =
          static_cast<float>(4 * random_uniform({5, RngStream::kData, 8, 0}, row * width + i) - 2);
  std::vector<float> logits(static_cast<size_t>(rows * padded(vocabulary)));
  head_logits(*bench_.context, model.head_matrix(), hidden.data(), rows, logits.data());
  for (const double temperature : {1.0, 0.7}) {
    SamplingOptions options;
    options.temperature = temperature;
    std::vector<HeadRow> head_rows;
    std::vector<Draw> draws;
    for (int64_t row = 0; row < rows; ++row) {
      draws.push_back(draw_token(bench_.context->kernels, logits.data() + row * padded(vocabulary), vocabulary, options,
                                 {}, random_uniform({6, RngStream::kSampling, 0, 0}, row), scratch_));
      head_rows.push_back({row, draws.back().token});
    }
    const HeadOutput head = head_forward(*bench_.context, model.head_matrix(), hidden.data(), head_rows, temperature);
    const HeadOutput plain = head_forward(*bench_.context, model.head_matrix(), hidden.data(), head_rows, 1.0);
    for (int64_t row = 0; row < rows; ++row) {
      EXPECT_EQ(draws[row].policy_logprob, head.logprobs[row]);
      EXPECT_EQ(draws[row].entropy, head.entropy[row]);
      EXPECT_EQ(draws[row].logprob, plain.logprobs[row]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, DrawToken, ::testing::Values("plain", ""),
                         [](const auto& info) { return *info.param == '\0' ? "best" : "plain"; });

}  // namespace
}  // namespace candor::engine
