// Several adapters resident at once: every row is, bit for bit, what it is alone; and what holds of one adapter holds
// of DoRA and of patterns of ranks too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/optimizer.h"
#include "engine/sampler.h"
#include "engine/score.h"
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

// The other adapter's embedding and head are of its own; or adapted.
Adapter with_a_head(Bench& bench, const Model& model, bool vocabulary = false) {
  files::LoraConfig config;
  config.r = 20;  // more than a panel
  config.target_modules = {"q_proj", "up_proj", vocabulary ? "lm_head" : "k_proj",
                           vocabulary ? "embed_tokens" : "v_proj"};
  if (!vocabulary) config.modules_to_save = {"lm_head", "embed_tokens"};
  config.init = files::LoraInit::kRandom;
  Adapter adapter = std::move(make_adapter(*bench.context, model, config, 3)).value();
  if (vocabulary) {
    const LoraPair& pair = *adapter.embedding_pair();
    for (int64_t i = 0; i < pair.rank * pair.in; i += 5)
      adapter.parameters[pair.a_offset + i / pair.in * padded(pair.in) + i % pair.in] = 0.05f;
    pack_adapter(*bench.context, adapter);
    return adapter;
  }
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
          other = with_a_head(bench, model), third = with_a_head(bench, model, true);
  const std::vector<Adapter*> of = {&lora, &dora, nullptr, &third, &lora, &lora, &other, &third, &dora};
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
  // score_sequences, which a reward ensemble goes through.
  const std::vector<std::vector<int32_t>> sequences(of.size(), data.completions[0]);
  std::vector<SequenceScore> scores;
  score_sequences(*bench.context, model, adapters, sequences, [&](size_t, SequenceScore score) {
    scores.push_back(std::move(score));
    return true;
  });
  for (size_t i = 0; i < of.size(); ++i)
    score_sequences(*bench.context, model, of[i], std::span(sequences).first(1), [&](size_t, SequenceScore score) {
      EXPECT_EQ(score.logprobs, scores[i].logprobs);
      return true;
    });
  EXPECT_NE(scores[0].logprobs, scores[1].logprobs);
  const HeadOutput base = pass.forward(nullptr, groups, 0.9);
  size_t same = 0;
  for (size_t i = 0; i < base.logprobs.size(); ++i) same += base.logprobs[i] == together.logprobs[i];
  EXPECT_EQ(same, data.completions[2].size() + 2);  // only the row without an adapter
}

TEST_P(Adapters, EveryAdaptersGradientIsWhatItIsAlone) {
  Adapter lora = bench.random_adapter(model, 4, 7), dora = bench.random_adapter(model, 2, 8, true),
          other = with_a_head(bench, model), third = with_a_head(bench, model, true);
  const std::vector<Adapter*> of = {&lora, &dora, &third, &lora, &lora, &other, &dora, &third};
  const Data data(of.size());
  const auto groups = data.groups();
  const std::vector<const Adapter*> adapters(of.begin(), of.end());
  std::map<Adapter*, Trainable> trainables;
  std::map<Adapter*, std::vector<float>> together, apart;
  for (Adapter* adapter : {&lora, &dora, &other, &third}) {
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
  for (Adapter* adapter : {&lora, &dora, &other, &third})
    EXPECT_THAT(together[adapter], ElementsAreArray(apart[adapter]));
}

TEST_P(Adapters, ARowOfTheSamplerHasItsOwnAdapter) {
  Adapter lora = bench.random_adapter(model, 4, 7), dora = bench.random_adapter(model, 20, 8, true),
          other = with_a_head(bench, model), third = with_a_head(bench, model, true);
  const std::vector<const Adapter*> of = {&dora, nullptr, &lora, &other, &dora, &third};
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
    // Zero gap: what the sampler reports is what the training pass computes.
    const RolloutGroup group{data.prompts[i], {together[i][0].ids, together[i][1].ids}};
    PolicyPass pass(*bench.context, "policy", model, of[i] == nullptr ? 0 : of[i]->max_padded_rank,
                    PolicyPass::Keep::kAllLayers);
    std::vector<float> sampled = together[i][0].policy_logprobs;
    sampled.insert(sampled.end(), together[i][1].policy_logprobs.begin(), together[i][1].policy_logprobs.end());
    EXPECT_EQ(pass.forward(of[i], {&group, 1}, options.temperature).logprobs, sampled);
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

// Gradients of all groups, `at_once` in a pass, with dropout; a group's row is its number, or as the twin has it.
std::vector<float> dropped_gradients(Bench& bench, const Model& model, Adapter& adapter, size_t at_once,
                                     bool rows_of_the_pass = false, DropoutKey key = {11, 2}) {
  const Data data(6);
  auto groups = data.groups();
  for (size_t i = 0; i < groups.size(); ++i)
    groups[i].first_row = static_cast<uint32_t>(2 * (rows_of_the_pass ? i % at_once : i));
  const Trainable trainable = trainable_of(adapter);
  std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats));
  PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
  pass.set_dropout(key);
  for (size_t g = 0; g < groups.size(); g += at_once) {
    const size_t count = pass.forward(&adapter, std::span(groups).subspan(g, at_once), 1.0).logprobs.size();
    pass.backward(trainable, std::vector<float>(count, -0.01f), std::vector<float>(count, 0.003f), gradients.data());
  }
  return gradients;
}

TEST_P(Adapters, DropoutIsInvariantToSplitsAndThreads) {
  Adapter adapter = bench.random_adapter(model, 4, 7);
  adapter.config.dropout = 0.25;
  const auto expected = dropped_gradients(bench, model, adapter, 6);
  EXPECT_THAT(dropped_gradients(bench, model, adapter, 1), ElementsAreArray(expected));
  EXPECT_THAT(dropped_gradients(bench, model, adapter, 3), ElementsAreArray(expected));
  Bench one(1, std::get<0>(GetParam()), std::get<1>(GetParam()));
  EXPECT_THAT(dropped_gradients(one, model, adapter, 2), ElementsAreArray(expected));
  // The twin's masks follow the row in the pass; another step and another seed have other masks.
  EXPECT_NE(dropped_gradients(bench, model, adapter, 3, true), expected);
  EXPECT_NE(dropped_gradients(bench, model, adapter, 6, false, {11, 3}), expected);
  EXPECT_NE(dropped_gradients(bench, model, adapter, 6, false, {12, 2}), expected);
  adapter.config.dropout = 0;
  const auto undropped = dropped_gradients(bench, model, adapter, 6);
  EXPECT_NE(undropped, expected);
}

TEST(Dropout, DropsTheShareAndKeepsTheMean) {
  Bench bench;
  constexpr int64_t kTokens = 300, kWidth = 48;
  std::vector<uint32_t> rows(kTokens);
  std::vector<int32_t> positions(kTokens);
  for (int64_t t = 0; t < kTokens; ++t)
    rows[t] = static_cast<uint32_t>(t / 20), positions[t] = static_cast<int32_t>(t % 20);
  const Dropout dropout{{5, 9}, rows, positions, nullptr};
  const std::vector<float> ones(kTokens * kWidth, 1.0f);
  auto masked = [&](uint32_t module, double p) {
    std::vector<float> to(ones.size());
    DropoutMask{dropout, p, module}.apply(*bench.context, 0, kTokens, kWidth, ones.data(), to.data());
    return to;
  };
  const auto mask = masked(3, 0.2);
  double sum = 0, dropped = 0;
  for (const float m : mask) {
    sum += static_cast<double>(m);
    dropped += m == 0;
    if (m != 0) {
      EXPECT_NEAR(static_cast<double>(m), 1.25, 1e-4);  // p to the nearest 1/65536
    }
  }
  // 14,400 draws: a deviation is 0.0033 of the share and 0.0042 of the mean; four of them.
  EXPECT_NEAR(dropped / (kTokens * kWidth), 0.2, 0.014);
  EXPECT_NEAR(sum / (kTokens * kWidth), 1, 0.017);
  EXPECT_NE(masked(4, 0.2), mask);
  EXPECT_EQ(masked(3, 0), ones);
}

files::LoraConfig pissa_config(int64_t r = 3) {
  files::LoraConfig config;
  config.r = r;
  config.alpha = 2.0 * static_cast<double>(r);
  config.target_modules = {"all-linear"};
  config.init = files::LoraInit::kPissa;
  return config;
}

double worst_logprob_difference(Bench& bench, const Model& model, const Adapter* a, const Adapter* b) {
  const Data data(3);
  const auto groups = data.groups();
  auto logprobs = [&](const Adapter* adapter) {
    PolicyPass pass(*bench.context, "policy", model, adapter == nullptr ? 0 : adapter->max_padded_rank,
                    PolicyPass::Keep::kOneLayer);
    return pass.forward(adapter, groups, 1.0).logprobs;
  };
  const auto of_a = logprobs(a), of_b = logprobs(b);
  double worst = 0;
  for (size_t i = 0; i < of_a.size(); ++i) worst = std::max(worst, static_cast<double>(std::abs(of_a[i] - of_b[i])));
  return worst;
}

// The base stays the base: a fresh PiSSA adapter changes nothing but roundings, because its start is taken off.
TEST_P(Adapters, PissaBeginsAsTheBaseAndIsPlainLora) {
  Adapter adapter = std::move(make_adapter(*bench.context, model, pissa_config(), 1)).value();
  EXPECT_LT(worst_logprob_difference(bench, model, &adapter, nullptr),
            1e-3);  // two sums of 3 large products that cancel
  EXPECT_EQ(adapter.config.r, 6);
  EXPECT_EQ(adapter.trainable * 2, [&] {
    int64_t all = 0;
    for (const files::LoraTensors& pair : adapter_to_peft(adapter).pairs) all += pair.rank * (pair.in + pair.out);
    return all;
  }());
  Adapter twin = std::move(make_adapter(*bench.context, model, pissa_config(), 1)).value();
  twin.start.fill_zero();
  pack_adapter(*bench.context, twin);
  EXPECT_GT(worst_logprob_difference(bench, model, &twin, nullptr), 0.1);  // without the start taken off

  // A few steps with weight decay: only the trained half moves, and what is saved goes on from there.
  const std::vector<float> start(adapter.start.data(), adapter.start.data() + adapter.start.size());
  const Trainable trainable = trainable_of(adapter);
  AdamwState state = make_adamw(*bench.context, trainable);
  AdamwOptions options;
  options.weight_decay = 0.1;
  for (int step = 0; step < 2; ++step) {
    const auto gradients = dropped_gradients(bench, model, adapter, 6);
    adamw_step(*bench.context, options, 1e-2, gradient_norm(*bench.context, trainable, gradients.data()),
               gradients.data(), state, trainable);
  }
  EXPECT_THAT(start, ElementsAreArray(adapter.start.data(), static_cast<size_t>(adapter.start.size())));
  EXPECT_GT(worst_logprob_difference(bench, model, &adapter, nullptr), 1e-2);
  const files::PeftAdapter saved = adapter_to_peft(adapter);
  const Adapter again = std::move(adapter_from_peft(*bench.context, model, saved)).value();
  EXPECT_EQ(worst_logprob_difference(bench, model, &adapter, &again), 0);
  EXPECT_EQ(again.parameters.size(), adapter.parameters.size());
  files::PeftAdapter plain = saved;  // as any other program reads it
  plain.config.frozen_half = false;
  const Adapter as_lora = std::move(adapter_from_peft(*bench.context, model, plain)).value();
  EXPECT_LT(worst_logprob_difference(bench, model, &adapter, &as_lora), 1e-3);  // one sum of 6 products instead of two
}

TEST(Pissa, StartsWithTheLargestFactors) {
  Bench bench;
  const Model model = bench.random_model();
  const Adapter adapter = std::move(make_adapter(*bench.context, model, pissa_config(40), 1)).value();
  // Rank 40 is all that a matrix of 40 columns has: what A and B begin with is W itself.
  for (const LoraPair& pair : adapter.pairs) {
    if (pair.layer != 0 || std::min(pair.in, pair.out) > 40) continue;
    std::vector<float> w(static_cast<size_t>(pair.in));
    for (int64_t row = 0; row < pair.out; row += 5) {
      pair.base->copy_row(row, w.data());
      for (int64_t k = 0; k < pair.in; ++k) {
        double sum = 0;
        for (int64_t r = 0; r < pair.rank; ++r)
          sum += static_cast<double>(adapter.parameters[pair.b_offset + row * padded(pair.rank) + r]) *
                 static_cast<double>(adapter.parameters[pair.a_offset + r * padded(pair.in) + k]);
        ASSERT_NEAR(static_cast<double>(pair.scale) * sum, static_cast<double>(w[k]), 1e-6);
      }
    }
  }
  Bench one(1);
  const Adapter again = std::move(make_adapter(*one.context, model, pissa_config(40), 1)).value();
  EXPECT_THAT(std::vector<float>(again.start.data(), again.start.data() + again.start.size()),
              ElementsAreArray(adapter.start.data(), static_cast<size_t>(adapter.start.size())));
}

TEST(MakeAdapter, InitialisationsAreThoseOfPeft) {
  Bench bench;
  const Model model = bench.random_model();
  files::LoraConfig config;
  config.r = 8;
  config.target_modules = {"up_proj", "embed_tokens"};
  auto spread = [&](files::LoraInit init, bool of_b, size_t number) {
    config.init = init;
    const Adapter adapter = std::move(make_adapter(*bench.context, model, config, 1)).value();
    const LoraPair& pair = adapter.pairs[number];
    const int64_t offset = of_b ? pair.b_offset : pair.a_offset, size = of_b ? pair.b_size() : pair.a_size();
    double squares = 0;
    for (int64_t i = 0; i < size; ++i) squares += std::pow(static_cast<double>(adapter.parameters[offset + i]), 2);
    return std::sqrt(squares / static_cast<double>(of_b ? pair.out * pair.rank : pair.rank * pair.in));
  };
  const size_t embedding = 3;                                                               // behind the three layers
  EXPECT_NEAR(spread(files::LoraInit::kDefault, false, 0), 1 / std::sqrt(3.0 * 40), 0.01);  // uniform: bound/sqrt(3)
  EXPECT_EQ(spread(files::LoraInit::kDefault, true, 0), 0);
  EXPECT_NEAR(spread(files::LoraInit::kGaussian, false, 0), 1.0 / 8, 0.01);
  EXPECT_EQ(spread(files::LoraInit::kGaussian, true, 0), 0);
  EXPECT_NEAR(spread(files::LoraInit::kRandom, true, 0), 1 / std::sqrt(3.0 * 8), 0.02);
  EXPECT_EQ(spread(files::LoraInit::kDefault, false, embedding), 0);
  EXPECT_NEAR(spread(files::LoraInit::kDefault, true, embedding), 1, 0.15);  // 320 normal draws
}

}  // namespace
}  // namespace candor::engine
