// Penalties, biases and bad words: on the logits alone, and through the draw against Transformers.
#include "engine/logit_processors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/draw.h"
#include "engine/testing.h"
#include "support/golden_model.h"

namespace candor::engine {
namespace {

using testing::Bench;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Ids = std::vector<int32_t>;

std::vector<float> processed(const std::vector<float>& logits, const SamplingOptions& options, const Ids& prompt,
                             const Ids& completion) {
  std::vector<float> out;
  process_logits(logits.data(), static_cast<int64_t>(logits.size()), options, {prompt, completion}, out);
  return out;
}

TEST(LogitProcessors, RepetitionPenaltyDividesAboveZeroAndMultipliesBelowOnceAToken) {
  SamplingOptions options;
  options.repetition_penalty = 2.0;
  EXPECT_THAT(processed({3, -3, 3, -3, 1}, options, {0, 1, 0}, {0, 3}), ElementsAre(1.5f, -6, 3, -6, 1));
  EXPECT_THAT(processed({3, -3, 3, -3, 1}, options, {}, {}), ElementsAre(3, -3, 3, -3, 1));
}

TEST(LogitProcessors, TheBiasComesBeforeThePenalty) {
  SamplingOptions options;
  options.repetition_penalty = 2.0;
  options.logit_bias = {{0, 1.0f}, {1, -4.0f}};
  EXPECT_THAT(processed({3, 3, 3}, options, {0, 1}, {1}), ElementsAre(2, -2, 3));
}

TEST(LogitProcessors, PresenceAndFrequencyCountTheCompletionOnly) {
  SamplingOptions options;
  options.presence_penalty = 0.5;
  options.frequency_penalty = 0.25;
  EXPECT_THAT(processed({1, 1, 1, 1}, options, {0, 0}, {2, 1, 2, 2}), ElementsAre(1, 0.25f, -0.25f, 1));
}

TEST(LogitProcessors, ABadWordsLastTokenIsBannedBehindTheOthers) {
  SamplingOptions options;
  options.bad_words = {{3}, {5, 6, 0}, {6, 1}, {9, 5, 6, 2}};
  const std::vector<float> logits(10, 1.0f);
  auto banned = [&](const Ids& prompt, const Ids& completion) {
    Ids ids;
    const auto out = processed(logits, options, prompt, completion);
    for (int32_t id = 0; id < 10; ++id)
      if (out[id] == kBannedLogit) ids.push_back(id);
    return ids;
  };
  EXPECT_THAT(banned({}, {}), ElementsAre(3));
  EXPECT_THAT(banned({7, 5}, {6}), ElementsAre(0, 1, 3));  // across the border of prompt and completion
  EXPECT_THAT(banned({7, 5, 6}, {}), ElementsAre(0, 1, 3));
  EXPECT_THAT(banned({}, {9, 5, 6}), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(banned({5}, {6, 7}), ElementsAre(3));
  EXPECT_THAT(banned({}, {6}), ElementsAre(1, 3));  // shorter than a sequence
}

TEST(LogitProcessors, SettingsThatCannotBeAreNamed) {
  auto refusal = [](auto&& change) {
    SamplingOptions options;
    change(options);
    const auto checked = check_sampling(options, 4);
    return checked ? std::string() : checked.error().message;
  };
  EXPECT_EQ(refusal([](SamplingOptions&) {}), "");
  EXPECT_THAT(refusal([](auto& o) { o.min_p = 1.5; }), HasSubstr("min_p is 1.5; expected 0 to 1"));
  EXPECT_THAT(refusal([](auto& o) { o.repetition_penalty = 0; }), HasSubstr("repetition_penalty is 0"));
  EXPECT_THAT(refusal([](auto& o) { o.temperature = NAN; }), HasSubstr("temperature is nan"));
  EXPECT_THAT(refusal([](auto& o) {
                o.logit_bias = {{4, 1.0f}};
              }),
              HasSubstr("logit_bias names token 4; the vocabulary has ids 0 to 3"));
  EXPECT_THAT(refusal([](auto& o) { o.logit_bias = {{1, INFINITY}}; }), HasSubstr("logit_bias is inf"));
  EXPECT_THAT(refusal([](auto& o) { o.bad_words = {{1, -1}}; }), HasSubstr("a bad word names token -1"));
  EXPECT_THAT(refusal([](auto& o) { o.bad_words = {{}}; }), HasSubstr("no token"));
  EXPECT_THAT(refusal([](auto& o) { o.bad_words = {{0}, {1}, {2}, {3}}; }), HasSubstr("none might be left"));
  EXPECT_THAT(refusal([](auto& o) { o.stop_strings = {"a", ""}; }), HasSubstr("stop string is empty"));
}

class AgainstTransformers : public ::testing::TestWithParam<const char*> {};

SamplingOptions options_of(const nlohmann::json& golden) {
  SamplingOptions options;
  options.temperature = golden.value("temperature", 1.0);
  options.top_k = golden.value("top_k", int64_t{0});
  options.top_p = golden.value("top_p", 1.0);
  options.min_p = golden.value("min_p", 0.0);
  options.repetition_penalty = golden.value("repetition_penalty", 1.0);
  for (const auto& pair : golden.at("logit_bias")) options.logit_bias[pair[0].get<int32_t>()] = pair[1].get<float>();
  options.bad_words = golden.at("bad_words").get<std::vector<Ids>>();
  return options;
}

// Uniform numbers in the middle of each token's share, the tokens in this order.
void add_middles(const std::vector<double>& probabilities, const Ids& order, std::vector<double>& uniforms) {
  double sum = 0;
  for (int32_t id : order) {
    uniforms.push_back(sum + probabilities[id] / 2);
    sum += probabilities[id];
  }
}

TEST_P(AgainstTransformers, EveryTokenThatMayComeHasItsProbability) {
  const nlohmann::json golden =
      candor::testing::json_of(candor::testing::source_dir() / "tests/golden/sampling/expected.json");
  const auto prompt = golden.at("prompt").get<Ids>(), completion = golden.at("completion").get<Ids>();
  Bench bench(1, GetParam());
  DrawScratch scratch;
  ASSERT_EQ(golden.at("cases").size(), 17u);
  for (const nlohmann::json& one : golden.at("cases")) {
    const SamplingOptions options = options_of(one);
    ASSERT_TRUE(check_sampling(options, 24));
    const auto logits = one.at("logits").get<std::vector<float>>();
    std::vector<double> probabilities;
    Ids expected;
    for (const nlohmann::json& logprob : one.at("logprobs")) {
      if (!logprob.is_null()) expected.push_back(static_cast<int32_t>(probabilities.size()));
      probabilities.push_back(logprob.is_null() ? 0.0 : std::exp(logprob.get<double>()));
    }
    // The draw walks by id, or likeliest first after a truncation: in one of the two orders each token is met.
    Ids order(24);
    std::iota(order.begin(), order.end(), 0);
    std::vector<double> uniforms;
    add_middles(probabilities, order, uniforms);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return probabilities[a] > probabilities[b]; });
    add_middles(probabilities, order, uniforms);
    std::map<int32_t, Draw> drawn;
    for (double uniform : uniforms) {
      const Draw draw = draw_token(bench.context->kernels, logits.data(), 24, options, {prompt, completion},
                                   std::min(uniform, 0.999999), scratch);
      drawn[draw.token] = draw;
    }
    Ids reached;
    for (const auto& [token, draw] : drawn) {
      reached.push_back(token);
      // Their float32 and ours: a few units in the last place of logits up to 7, through a softmax.
      EXPECT_NEAR(draw.sampling_logprob,
                  one.at("logprobs")[token].is_null() ? 1 : one.at("logprobs")[token].get<double>(), 3e-6)
          << one.dump() << " token " << token;
    }
    EXPECT_EQ(reached, expected) << one.dump();
    SamplingOptions greedy = options;
    greedy.temperature = 0;
    EXPECT_EQ(draw_token(bench.context->kernels, logits.data(), 24, greedy, {prompt, completion}, 0.5, scratch).token,
              order.front());
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, AgainstTransformers, ::testing::Values("plain", ""),
                         [](const auto& info) { return *info.param == '\0' ? "best" : "plain"; });

}  // namespace
}  // namespace candor::engine
