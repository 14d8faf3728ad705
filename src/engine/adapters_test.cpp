// Several adapters resident at once: every row is, bit for bit, what it is alone; and what holds of one adapter holds
// of DoRA and of patterns of ranks too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/optimizer.h"
#include "engine/sampler.h"
#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;
using ::testing::ElementsAreArray;
using testing::random_ids;

class Adapters : public ::testing::TestWithParam<std::tuple<std::string, Dtype>> {
 protected:
  Bench bench{2, std::get<0>(GetParam()), std::get<1>(GetParam())};
  Model model = bench.random_model();
};
INSTANTIATE_TEST_SUITE_P(All, Adapters,
                         ::testing::Combine(::testing::ValuesIn(testing::level_names()),
                                            ::testing::Values(Dtype::kFloat32, Dtype::kBfloat16)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + std::string(dtype_name(std::get<1>(info.param)));
                         });

struct Data {
  std::vector<std::vector<int32_t>> prompts, completions;
  explicit Data(size_t groups) {
    for (uint32_t i = 0; i < groups; ++i) {
      prompts.push_back(random_ids(3 + 7 * i % 19, 1100, 2 * i));
      completions.push_back(random_ids(5 + 11 * i % 17, 1100, 2 * i + 1));
    }
  }
  std::vector<RolloutGroup> groups() const {
    std::vector<RolloutGroup> all;
    for (size_t i = 0; i < prompts.size(); ++i) {
      const std::span<const int32_t> completion = completions[i];
      all.push_back({prompts[i], {completion, completion.first(2)}});
    }
    return all;
  }
};

// The other adapter's head is one of its own.
Adapter with_a_head(Bench& bench, const Model& model) {
  files::LoraConfig config;
  config.r = 20;  // more than a panel
  config.target_modules = {"q_proj", "up_proj"};
  config.modules_to_save = {"lm_head", "embed_tokens"};
  config.init = files::LoraInit::kRandom;
  Adapter adapter = std::move(make_adapter(*bench.context, model, config, 3)).value();
  for (auto* copy : {&*adapter.saved.head, &*adapter.saved.embedding})
    for (int64_t i = 0; i < copy->data.size(); i += 3) copy->data[i] *= 1.1f;
  return adapter;
}

std::vector<float> coefficients(size_t count) {
  std::vector<float> c;
  for (size_t i = 0; i < count; ++i) c.push_back(0.01f * static_cast<float>((i * 37) % 101) - 0.5f);
  return c;
}

TEST_P(Adapters, EveryRowIsWhatItIsAlone) {
  Adapter lora = bench.random_adapter(model, 4, 7), dora = bench.random_adapter(model, 2, 8, true),
          other = with_a_head(bench, model);
  const std::vector<Adapter*> of = {&lora, &dora, nullptr, &lora, &lora, &other, &dora};
  const Data data(of.size());
  const auto groups = data.groups();
  const std::vector<const Adapter*> adapters(of.begin(), of.end());
  PolicyPass pass(*bench.context, "policy", model, other.max_padded_rank, PolicyPass::Keep::kAllLayers);
  const HeadOutput together = pass.forward(adapters, groups, 0.9);
  HeadOutput apart;
  for (size_t i = 0; i < of.size(); ++i) {
    PolicyPass alone(*bench.context, "policy", model, of[i] == nullptr ? 0 : of[i]->max_padded_rank,
                     PolicyPass::Keep::kOneLayer);
    apart.append(alone.forward(of[i], std::span(groups).subspan(i, 1), 0.9));
  }
  EXPECT_THAT(together.logprobs, ElementsAreArray(apart.logprobs));
  EXPECT_THAT(together.entropy, ElementsAreArray(apart.entropy));
  EXPECT_THAT(together.argmax, ElementsAreArray(apart.argmax));
  const HeadOutput base = pass.forward(nullptr, groups, 0.9);
  size_t same = 0;
  for (size_t i = 0; i < base.logprobs.size(); ++i) same += base.logprobs[i] == together.logprobs[i];
  EXPECT_EQ(same, data.completions[2].size() + 2);  // only the row without an adapter
}

TEST_P(Adapters, EveryAdaptersGradientIsWhatItIsAlone) {
  Adapter lora = bench.random_adapter(model, 4, 7), dora = bench.random_adapter(model, 2, 8, true),
          other = with_a_head(bench, model);
  const std::vector<Adapter*> of = {&lora, &dora, &lora, &lora, &other, &dora};
  const Data data(of.size());
  const auto groups = data.groups();
  const std::vector<const Adapter*> adapters(of.begin(), of.end());
  std::map<Adapter*, Trainable> trainables;
  std::map<Adapter*, std::vector<float>> together, apart;
  for (Adapter* adapter : {&lora, &dora, &other}) {
    trainables[adapter] = trainable_of(*adapter);
    together[adapter].resize(static_cast<size_t>(trainables[adapter].gradient_floats));
    apart[adapter] = together[adapter];
  }
  PolicyPass pass(*bench.context, "policy", model, other.max_padded_rank, PolicyPass::Keep::kAllLayers);
  const size_t count = pass.forward(adapters, groups, 0.9).logprobs.size();
  const std::vector<float> c = coefficients(count), e = coefficients(count);
  std::vector<PolicyPass::Trained> trained;
  for (Adapter* adapter : of) trained.push_back({&trainables[adapter], together[adapter].data()});
  pass.backward(trained, c, e);
  size_t entry = 0;
  for (size_t i = 0; i < of.size(); ++i) {
    const size_t own = pass.forward(of[i], std::span(groups).subspan(i, 1), 0.9).logprobs.size();
    const auto at = c.begin() + static_cast<std::ptrdiff_t>(entry);
    const std::vector<float> part(at, at + static_cast<std::ptrdiff_t>(own));
    pass.backward(trainables[of[i]], part, part, apart[of[i]].data());
    entry += own;
  }
  EXPECT_EQ(entry, count);
  for (Adapter* adapter : {&lora, &dora, &other}) EXPECT_THAT(together[adapter], ElementsAreArray(apart[adapter]));
}

TEST_P(Adapters, ARowOfTheSamplerHasItsOwnAdapter) {
  Adapter lora = bench.random_adapter(model, 4, 7), dora = bench.random_adapter(model, 20, 8, true),
          other = with_a_head(bench, model);
  const std::vector<const Adapter*> of = {&dora, nullptr, &lora, &other, &dora};
  const Data data(of.size());
  SamplingOptions options;
  options.seed = 5;
  options.max_new_tokens = 9;
  options.max_rows = 4;  // rows come and go
  std::vector<SampleRequest> requests;
  for (size_t i = 0; i < of.size(); ++i) requests.push_back({data.prompts[i], 2, 0, of[i]});
  const auto together = sample(*bench.context, model, &lora, requests, options, nullptr, {});
  for (size_t i = 0; i < of.size(); ++i) {
    const std::vector<SampleRequest> one = {{data.prompts[i], 2}};
    const auto alone = sample(*bench.context, model, of[i], one, options, nullptr, {}, static_cast<uint32_t>(2 * i));
    for (size_t g = 0; g < 2; ++g) {
      EXPECT_EQ(together[i][g].ids, alone[0][g].ids);
      EXPECT_EQ(together[i][g].logprobs, alone[0][g].logprobs);
    }
  }
}

// One adapter's gradients and its next weights, bit for bit, whatever the threads and the split.
TEST_P(Adapters, DoraIsInvariantToSplitsAndThreads) {
  const Data data(6);
  const auto groups = data.groups();
  auto trained = [&](int threads, size_t at_once) {
    Bench own(threads, std::get<0>(GetParam()), std::get<1>(GetParam()));
    const Model base = own.random_model();
    Adapter adapter = own.random_adapter(base, 4, 7, true);
    const Trainable trainable = trainable_of(adapter);
    AdamwState state = make_adamw(*own.context, trainable);
    PolicyPass pass(*own.context, "policy", base, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
    for (int step = 0; step < 2; ++step) {
      std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats));
      for (size_t g = 0; g < groups.size(); g += at_once) {
        const size_t count = pass.forward(&adapter, std::span(groups).subspan(g, at_once), 1.0).logprobs.size();
        pass.backward(trainable, std::vector<float>(count, -0.01f), std::vector<float>(count, 0.003f),
                      gradients.data());
      }
      adamw_step(*own.context, {}, 1e-2, gradient_norm(*own.context, trainable, gradients.data()), gradients.data(),
                 state, trainable);
    }
    return std::vector<float>(adapter.parameters.data(), adapter.parameters.data() + adapter.parameters.size());
  };
  const auto expected = trained(1, 6);
  EXPECT_THAT(trained(3, 6), ElementsAreArray(expected));
  EXPECT_THAT(trained(2, 1), ElementsAreArray(expected));
  EXPECT_THAT(trained(2, 3), ElementsAreArray(expected));
}

// LoRA+: B and DoRA's magnitudes by the ratio, A as it was (PEFT's create_loraplus_optimizer).
TEST_P(Adapters, LoraPlusMovesBFaster) {
  auto moved = [&](double ratio) {
    Adapter adapter = bench.random_adapter(model, 4, 7, true);
    const Trainable trainable = trainable_of(adapter);
    AdamwState state = make_adamw(*bench.context, trainable);
    const std::vector<float> before(adapter.parameters.data(), adapter.parameters.data() + adapter.parameters.size());
    std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats), 0.25f);
    AdamwOptions options;
    options.max_grad_norm = 0;
    options.b_ratio = ratio;
    adamw_step(*bench.context, options, 1e-3, 1, gradients.data(), state, trainable);
    const LoraPair& pair = adapter.pairs[0];
    auto step = [&](int64_t at) {
      return static_cast<double>(before[at]) - static_cast<double>(adapter.parameters[at]);
    };
    return std::array<double, 3>{step(pair.a_offset), step(pair.b_offset), step(pair.magnitude_offset)};
  };
  const auto plain = moved(1), plus = moved(16);
  // Adam's first step is the learning rate itself, up to a float's rounding of numbers below 4.
  EXPECT_NEAR(plain[0], 1e-3, 1e-6);
  EXPECT_NEAR(plain[1], 1e-3, 1e-6);
  EXPECT_NEAR(plus[0], 1e-3, 1e-6);
  EXPECT_NEAR(plus[1], 16e-3, 2e-6);
  EXPECT_NEAR(plus[2], 16e-3, 2e-6);
}

}  // namespace
}  // namespace candor::engine
