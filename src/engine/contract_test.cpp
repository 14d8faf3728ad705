// The contract of docs/adr/0002, lines 1, 2 and 5, on a random model, at every kernel level that this machine has and
// in every dtype: all comparisons here are bit for bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "engine/gradient_shards.h"
#include "engine/optimizer.h"
#include "engine/sampler.h"
#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;
using ::testing::ElementsAreArray;
using testing::random_ids;

class Contract : public ::testing::TestWithParam<std::tuple<std::string, std::string, std::string>> {
 protected:
  std::string_view level() const { return std::get<0>(GetParam()); }
  Dtype dtype() const { return testing::dtype_of(std::get<1>(GetParam())); }
  Model random_model(Bench& bench) const {
    const bool gpt2 = std::get<2>(GetParam()) == "gpt2";
    return bench.random_model(1, gpt2 ? testing::tiny_gpt2_config() : testing::tiny_config());
  }
};
std::string name_of(const ::testing::TestParamInfo<Contract::ParamType>& info) {
  return std::get<2>(info.param) + "_" + std::get<0>(info.param) + "_" + std::get<1>(info.param);
}
const auto kDtypes = ::testing::Values("float32", "bfloat16", "int8", "int4", "int8_bfloat16", "int4_float32");
INSTANTIATE_TEST_SUITE_P(All, Contract,
                         ::testing::Combine(::testing::ValuesIn(testing::level_names()), kDtypes,
                                            ::testing::Values("llama")),
                         name_of);
// What differs between families stands above the kernels: two levels will do.
INSTANTIATE_TEST_SUITE_P(Families, Contract,
                         ::testing::Combine(::testing::Values("plain", testing::level_names().back()), kDtypes,
                                            ::testing::Values("gpt2")),
                         name_of);

// Prompts of several lengths around the page size, so that completions straddle pages in every way.
struct Rollouts {
  std::vector<std::vector<int32_t>> prompts;
  std::vector<std::vector<std::vector<int32_t>>> completions;

  std::vector<RolloutGroup> groups() const {
    std::vector<RolloutGroup> groups;
    for (size_t i = 0; i < prompts.size(); ++i) {
      RolloutGroup group{prompts[i], {}};
      for (const auto& completion : completions[i]) group.completions.emplace_back(completion);
      groups.push_back(group);
    }
    return groups;
  }
};

Rollouts some_rollouts() {
  Rollouts r;
  uint32_t row = 0;
  for (int64_t length : {1, 15, 16, 17, 33, 40}) {
    r.prompts.push_back(random_ids(length, 1100, row++));
    std::vector<std::vector<int32_t>> completions;
    for (int64_t tokens : {1, 2, 18, 7}) completions.push_back(random_ids(tokens, 1100, row++));
    r.completions.push_back(std::move(completions));
  }
  return r;
}

// Derivatives that any pure loss might give: a fixed function of the entry's number.
std::vector<float> coefficients(size_t count, size_t first = 0) {
  std::vector<float> c;
  for (size_t i = first; i < first + count; ++i) c.push_back(0.01f * static_cast<float>((i * 37) % 101) - 0.5f);
  return c;
}

std::vector<float> gradients_of(Bench& bench, const Model& model, Adapter& adapter,
                                const std::vector<RolloutGroup>& groups, size_t groups_per_micro_batch,
                                HeadOutput* output = nullptr) {
  PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
  std::vector<float> gradients(static_cast<size_t>(adapter.parameters.size()), 0.0f);
  size_t entry = 0;
  for (size_t g = 0; g < groups.size(); g += groups_per_micro_batch) {
    const std::span<const RolloutGroup> part =
        std::span(groups).subspan(g, std::min(groups_per_micro_batch, groups.size() - g));
    const HeadOutput& head = pass.forward(&adapter, part, 0.9);
    const size_t count = head.logprobs.size();
    pass.backward(trainable_of(adapter), coefficients(count, entry), coefficients(count, entry + 7), gradients.data());
    entry += count;
    if (output == nullptr) continue;
    output->logprobs.insert(output->logprobs.end(), head.logprobs.begin(), head.logprobs.end());
    output->entropy.insert(output->entropy.end(), head.entropy.begin(), head.entropy.end());
  }
  return gradients;
}

TEST_P(Contract, SamplerAndTrainerAgreeBitForBit) {
  Bench bench(2, level(), dtype());
  const Model model = random_model(bench);
  Adapter adapter = bench.random_adapter(model);
  std::vector<SampleRequest> requests;
  for (int64_t length : {1, 15, 16, 17, 31, 32, 40, 3}) requests.push_back({random_ids(length, 1100, 50), 3});
  SamplingOptions options;
  options.temperature = 0.8;
  options.max_new_tokens = 37;
  options.stop_ids = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
  options.seed = 5;
  options.max_rows = 7;  // rows come and go, groups wait
  const auto sampled = sample(*bench.context, model, &adapter, requests, options, nullptr, {});
  PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kOneLayer);
  int64_t tokens = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    RolloutGroup group{requests[i].prompt, {}};
    std::vector<float> policy, plain, entropy;
    for (const Completion& completion : sampled[i]) {
      group.completions.emplace_back(completion.ids);
      policy.insert(policy.end(), completion.policy_logprobs.begin(), completion.policy_logprobs.end());
      plain.insert(plain.end(), completion.logprobs.begin(), completion.logprobs.end());
      entropy.insert(entropy.end(), completion.entropy.begin(), completion.entropy.end());
      EXPECT_TRUE(completion.finished || completion.ids.size() == 37u);
      tokens += static_cast<int64_t>(completion.ids.size());
    }
    EXPECT_THAT(pass.forward(&adapter, {&group, 1}, 0.8).logprobs, ElementsAreArray(policy));
    EXPECT_THAT(pass.forward(&adapter, {&group, 1}, 0.8).entropy, ElementsAreArray(entropy));
    EXPECT_THAT(pass.forward(&adapter, {&group, 1}, 1.0).logprobs, ElementsAreArray(plain));
  }
  EXPECT_GT(tokens, 200);
}

// Every setting that changes what is drawn; none of them may change what the model's own numbers are.
SamplingOptions all_settings() {
  SamplingOptions options;
  options.temperature = 0.8;
  options.top_k = 200;
  options.top_p = 0.95;
  options.min_p = 0.01;
  options.repetition_penalty = 1.3;
  options.presence_penalty = 0.4;
  options.frequency_penalty = 0.2;
  options.logit_bias = {{7, 3.0f}, {30, 2.0f}, {900, -5.0f}};
  options.bad_words = {{5}, {7, 30}, {30, 7}};
  options.max_new_tokens = 37;
  options.seed = 5;
  return options;
}

TEST_P(Contract, NoSettingOfTheSamplerOpensAGap) {
  Bench bench(2, level(), dtype());
  const Model model = random_model(bench);
  const Adapter adapter = bench.random_adapter(model);
  const std::vector<SampleRequest> requests = {{random_ids(17, 1100, 50), 3}, {random_ids(40, 1100, 51), 2, 9}};
  const SamplingOptions options = all_settings();
  const auto sampled = sample(*bench.context, model, &adapter, requests, options, nullptr, {});
  PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kOneLayer);
  int64_t differ = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    RolloutGroup group{requests[i].prompt, {}};
    std::vector<float> policy, plain;
    for (const Completion& completion : sampled[i]) {
      EXPECT_EQ(completion.ids.size(), i == 0 ? 37u : 9u);
      group.completions.emplace_back(completion.ids);
      policy.insert(policy.end(), completion.policy_logprobs.begin(), completion.policy_logprobs.end());
      plain.insert(plain.end(), completion.logprobs.begin(), completion.logprobs.end());
      for (size_t t = 0; t < completion.ids.size(); ++t) {
        EXPECT_NE(completion.ids[t], 5);
        EXPECT_FALSE(t > 0 && completion.ids[t - 1] == 7 && completion.ids[t] == 30);
        differ += completion.sampling_logprobs[t] != completion.policy_logprobs[t];
      }
    }
    EXPECT_THAT(pass.forward(&adapter, {&group, 1}, 0.8).logprobs, ElementsAreArray(policy));
    EXPECT_THAT(pass.forward(&adapter, {&group, 1}, 1.0).logprobs, ElementsAreArray(plain));
  }
  EXPECT_GT(differ, 100);
}

// A conversation that keeps its keys and values between turns against one that computes everything again.
TEST_P(Contract, APrefixCacheChangesNoBit) {
  Bench bench(2, level(), dtype());
  const Model model = random_model(bench);
  SamplingOptions options = all_settings();
  options.max_new_tokens = 11;
  PrefixCache cache(bench.ledger, model);
  auto turn = [&](const std::vector<int32_t>& prompt, PrefixCache* with) {
    const std::vector<SampleRequest> requests = {{prompt, 1}};
    const SamplingCallbacks none;
    Sampler sampler(*bench.context, model, nullptr, requests, options, nullptr, none, 0, with);
    while (!sampler.done()) sampler.step();
    return sampler.take_results()[0][0];
  };
  std::vector<int32_t> prompt = random_ids(20, 1100, 1);
  for (uint32_t i = 0; i < 6; ++i) {
    const int64_t shared = cache.shared_tokens(prompt);
    EXPECT_EQ(shared, i == 0 ? 0 : i == 3 ? 19 : static_cast<int64_t>(prompt.size()) - 6) << i;
    const Completion expected = turn(prompt, nullptr), cached = turn(prompt, &cache);
    EXPECT_EQ(cached.ids, expected.ids) << i;
    EXPECT_EQ(cached.logprobs, expected.logprobs) << i;
    if (i == 2) {
      prompt.resize(19);  // a turn taken back
      prompt.insert(prompt.end(), {3, 4, 5});
      continue;
    }
    // The last token of a completion never went into the model, and five are new.
    prompt.insert(prompt.end(), cached.ids.begin(), cached.ids.end());
    const auto question = random_ids(5, 1100, 10 + i);
    prompt.insert(prompt.end(), question.begin(), question.end());
  }
}

TEST_P(Contract, AStoppedAnswerLeavesItsKeysAndValues) {
  Bench bench(2, level(), dtype());
  const Model model = random_model(bench);
  const SamplingOptions options = all_settings();
  PrefixCache cache(bench.ledger, model);
  const std::vector<SampleRequest> requests = {{random_ids(20, 1100, 1), 1}};
  Completion stopped;
  const SamplingCallbacks none;
  {
    Sampler sampler(*bench.context, model, nullptr, requests, options, nullptr, none, 0, &cache);
    for (int i = 0; i < 4; ++i) sampler.step();
    stopped = sampler.take_results()[0][0];
  }
  EXPECT_EQ(stopped.ids.size(), 5u);  // the first step draws twice: behind the prompt, and once more
  std::vector<int32_t> next = requests[0].prompt;
  next.insert(next.end(), stopped.ids.begin(), stopped.ids.end());
  next.push_back(8);
  EXPECT_EQ(cache.shared_tokens(next), 24);
}

TEST_P(Contract, SamplingDoesNotDependOnRowsAtATime) {
  Bench bench(2, level(), dtype());
  const Model model = random_model(bench);
  std::vector<SampleRequest> requests;
  for (uint32_t i = 0; i < 9; ++i) requests.push_back({random_ids(5 + 4 * i, 1100, i), 2});
  SamplingOptions options = all_settings();
  options.max_new_tokens = 12;
  auto ids = [&](int64_t rows) {
    options.max_rows = rows;
    std::vector<std::vector<int32_t>> all;
    for (const auto& request : sample(*bench.context, model, nullptr, requests, options, nullptr, {}))
      for (const Completion& completion : request) all.push_back(completion.ids);
    return all;
  };
  const auto expected = ids(64);
  EXPECT_EQ(ids(1), expected);
  EXPECT_EQ(ids(5), expected);
  options.seed = 1;
  EXPECT_NE(ids(64), expected);
}

TEST_P(Contract, GradientsDoNotDependOnThreadsOrMicroBatches) {
  const Rollouts rollouts = some_rollouts();
  std::vector<float> expected;
  HeadOutput expected_output;
  for (const int threads : {1, 2, 5}) {
    Bench bench(threads, level(), dtype());
    const Model model = random_model(bench);
    Adapter adapter = bench.random_adapter(model);
    for (const size_t micro_batch : {1, 2, 6}) {
      HeadOutput output;
      const auto gradients = gradients_of(bench, model, adapter, rollouts.groups(), micro_batch, &output);
      if (expected.empty()) {
        expected = gradients;
        expected_output = output;
        EXPECT_NE(*std::max_element(expected.begin(), expected.end()), 0.0f);
      }
      EXPECT_EQ(gradients, expected) << threads << " threads, " << micro_batch << " groups";
      EXPECT_EQ(output.logprobs, expected_output.logprobs);
      EXPECT_EQ(output.entropy, expected_output.entropy);
    }
  }
}

// A loss with a statistic over the whole step: log-probabilities first (nothing kept), then the loss, then every
// micro-batch again with its backward pass. The second forward repeats the first bit for bit, so no split matters.
TEST_P(Contract, ACoupledLossTakesTwoPasses) {
  Bench bench(2, level(), dtype());
  const Model model = random_model(bench);
  Adapter adapter = bench.random_adapter(model);
  const Rollouts rollouts = some_rollouts();
  const auto groups = rollouts.groups();
  PolicyPass first(*bench.context, "first pass", model, adapter.max_padded_rank, PolicyPass::Keep::kOneLayer);
  const std::vector<float> logprobs = first.forward(&adapter, groups, 1.0).logprobs;
  float mean = 0;
  for (float logprob : logprobs) mean += logprob / static_cast<float>(logprobs.size());
  PolicyPass second(*bench.context, "second pass", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
  std::vector<float> expected;
  for (const size_t micro_batch : {6, 1, 2}) {
    std::vector<float> gradients(static_cast<size_t>(adapter.parameters.size()), 0.0f);
    size_t entry = 0;
    for (size_t g = 0; g < groups.size(); g += micro_batch) {
      const auto& again = second.forward(&adapter, std::span(groups).subspan(g, micro_batch), 1.0).logprobs;
      std::vector<float> coefficients;
      for (float logprob : again) {
        ASSERT_EQ(logprob, logprobs[entry++]);
        coefficients.push_back(logprob - mean);
      }
      second.backward(trainable_of(adapter), coefficients, std::vector<float>(coefficients.size(), 0.0f),
                      gradients.data());
    }
    if (expected.empty()) expected = gradients;
    EXPECT_EQ(gradients, expected) << micro_batch << " groups";
  }
}

TEST_P(Contract, OtherRowsAndSharingThePromptDoNotChangeLogprobs) {
  Bench bench(2, level(), dtype());
  const Model model = random_model(bench);
  const Rollouts rollouts = some_rollouts();
  const auto groups = rollouts.groups();
  PolicyPass pass(*bench.context, "policy", model, 0, PolicyPass::Keep::kOneLayer);
  const std::vector<float> together = pass.forward(nullptr, groups, 1.0).logprobs;
  size_t entry = 0;
  for (const RolloutGroup& group : groups)
    for (const auto& completion : group.completions) {
      // The same text as one sequence: everything but the first token is "completion".
      std::vector<int32_t> sequence(group.prompt.begin(), group.prompt.end());
      sequence.insert(sequence.end(), completion.begin(), completion.end());
      const RolloutGroup alone{std::span(sequence).first(1), {std::span(sequence).subspan(1)}};
      const std::vector<float> logprobs = pass.forward(nullptr, {&alone, 1}, 1.0).logprobs;
      for (size_t j = 0; j < completion.size(); ++j)
        ASSERT_EQ(logprobs[group.prompt.size() - 1 + j], together[entry + j]) << "group " << group.prompt.size();
      entry += completion.size();
    }
}

TEST_P(Contract, TheReferenceIsTheInitialModel) {
  Bench bench(2, level(), dtype());
  const Model model = random_model(bench);
  files::LoraConfig config;
  config.r = 4;
  config.target_modules = {"all-linear"};
  const Adapter fresh = std::move(make_adapter(*bench.context, model, config, 3)).value();
  const Adapter trained = bench.random_adapter(model);
  const Rollouts rollouts = some_rollouts();
  const auto groups = rollouts.groups();
  PolicyPass pass(*bench.context, "policy", model, trained.max_padded_rank, PolicyPass::Keep::kOneLayer);
  const auto base = pass.forward(nullptr, groups, 1.0).logprobs;
  EXPECT_EQ(pass.forward(&fresh, groups, 1.0).logprobs, base);  // B = 0
  EXPECT_NE(pass.forward(&trained, groups, 1.0).logprobs, base);
  EXPECT_EQ(pass.forward(nullptr, groups, 1.0).logprobs, base);  // adapters off again
}

TEST_P(Contract, ShardsAddInAFixedTree) {
  Bench bench(2, level(), dtype());
  for (int64_t shards : {1, 2, 3, 4, 8}) {
    Trainable trainable;
    trainable.floats = trainable.gradient_floats = 16;
    GradientShards gradients(bench.ledger, shards, trainable);
    const Buffer& total = gradients.reduce(*bench.context, [&](int64_t shard, float* g) {
      for (int i = 0; i < 16; ++i) {
        EXPECT_EQ(g[i], 0.0f);
        g[i] = 0.1f * static_cast<float>(shard + 1);
      }
    });
    auto leaf = [](int64_t shard) { return 0.1f * static_cast<float>(shard + 1); };
    auto pair = [&](int64_t shard) { return leaf(shard) + leaf(shard + 1); };
    const std::map<int64_t, float> expected = {
        {1, leaf(0)},
        {2, pair(0)},
        {3, pair(0) + leaf(2)},
        {4, pair(0) + pair(2)},
        {8, (pair(0) + pair(2)) + (pair(4) + pair(6))},
    };
    EXPECT_EQ(total[3], expected.at(shards)) << shards;
  }
  const auto ranges = shard_ranges(8, 4);
  EXPECT_EQ(ranges[3].begin, 6);
  EXPECT_EQ(ranges[3].end, 8);
}

}  // namespace
}  // namespace candor::engine
