// Scalar heads: how they begin, what they refuse, and that their gradients do not depend on how the work is cut.
#include "engine/scalar_head.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/roles.h"
#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;
using ::testing::ElementsAre;
using testing::random_ids;

TEST(ScalarHead, AScoreBeginsNormalAndAValueHeadUniform) {
  Bench bench;
  files::ModelConfig config = testing::tiny_config();
  config.initializer_range = 0.5;
  const Model model = bench.random_model(1, config);
  const ScalarHead score = make_score_head(*bench.context, model, 200, 3);
  EXPECT_TRUE(score.bias.empty());
  double sum = 0, squares = 0, padding = 0;
  for (int64_t label = 0; label < 200; ++label)
    for (int64_t k = 0; k < padded(40); ++k) {
      const auto w = static_cast<double>(score.weight[label * padded(40) + k]);
      (k < 40 ? sum : padding) += std::abs(k < 40 ? 0 : w) + (k < 40 ? w : 0);
      squares += w * w;
    }
  // 8000 draws of deviation 0.5: the mean's deviation is 0.0056, that of the mean square 0.004.
  EXPECT_NEAR(sum / 8000, 0, 0.03);
  EXPECT_NEAR(squares / 8000, 0.25, 0.02);
  EXPECT_EQ(padding, 0);

  const ScalarHead value = make_value_head(*bench.context, model, 3);
  float largest = 0;
  for (int64_t k = 0; k < 40; ++k) largest = std::max(largest, std::abs(value.weight[k]));
  EXPECT_LE(largest, 1 / std::sqrt(40.0f));
  EXPECT_GT(largest, 0.9f / std::sqrt(40.0f));  // of 40 uniform draws all below 0.9: 1.5%, and the seed is fixed
  EXPECT_NE(value.bias[0], 0);
  EXPECT_LE(std::abs(value.bias[0]), 1 / std::sqrt(40.0f));
  EXPECT_NE(make_value_head(*bench.context, model, 4).weight[0], value.weight[0]);
}

// w = [1, 2], [0.5, −1], b = [10, 20] on h = [3, 4] and [1, 0]: 3+8+10, 1.5−4+20; 1+10, 0.5+20.
TEST(ScalarHead, TwoLabelsOnPaper) {
  Bench bench;
  files::ModelConfig config = testing::tiny_config();
  config.hidden_size = 2;
  Model model;
  model.config = config;
  const std::vector<files::FloatTensor> tensors = {{"score.weight", {2, 2}, {1, 2, 0.5, -1}},
                                                   {"score.bias", {2}, {10, 20}}};
  auto head = scalar_head_of(*bench.context, model, "score", tensors);
  ASSERT_TRUE(head) << head.error().message;
  std::vector<float> hidden(3 * 16, 0.0f);
  hidden[0] = 3, hidden[1] = 4, hidden[32] = 1;
  const std::vector<int64_t> rows = {0, 2};
  EXPECT_THAT(scalar_head_forward(*bench.context, *head, hidden.data(), rows), ElementsAre(21, 17.5, 11, 20.5));
  // dh = Σ over labels of d·w; dw[label] = Σ over rows of d·h; db = Σ over rows of d.
  std::vector<float> dhidden(3 * 16), dweight(2 * 16), dbias(16);
  scalar_head_backward(*bench.context, *head, hidden.data(), rows, std::vector<float>{1, 2, 0, 4}, dhidden.data(),
                       dweight.data(), dbias.data());
  EXPECT_EQ(dhidden[0], 1 * 1 + 2 * 0.5f);
  EXPECT_EQ(dhidden[1], 1 * 2 + 2 * -1.0f);
  EXPECT_EQ(dhidden[32], 4 * 0.5f);
  EXPECT_EQ(dhidden[33], -4);
  EXPECT_EQ(dweight[0], 3);
  EXPECT_EQ(dweight[1], 4);
  EXPECT_EQ(dweight[16], 2 * 3 + 4 * 1);
  EXPECT_EQ(dweight[17], 2 * 4);
  EXPECT_EQ(dbias[0], 1);
  EXPECT_EQ(dbias[1], 6);
  const auto saved = scalar_head_tensors(*head);
  ASSERT_EQ(saved.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(saved[i].name, tensors[i].name);
    EXPECT_EQ(saved[i].shape, tensors[i].shape);
    EXPECT_EQ(saved[i].values, tensors[i].values);
  }
}

TEST(ScalarHead, RefusesWhatDoesNotFit) {
  Bench bench;
  const Model model = bench.random_model();
  auto refusal = [&](std::vector<files::FloatTensor> tensors) {
    auto head = scalar_head_of(*bench.context, model, "v_head.summary", tensors);
    return head ? "" : head.error().message;
  };
  const files::FloatTensor weight = {"v_head.summary.weight", {1, 40}, std::vector<float>(40)};
  EXPECT_EQ(refusal({weight}), "");
  EXPECT_EQ(refusal({}), "[scalar head] there is no v_head.summary.weight.");
  EXPECT_EQ(
      refusal({{"v_head.summary.weight", {1, 32}, std::vector<float>(32)}}),
      "[scalar head] v_head.summary.weight has the shape [1, 32]; [labels, 40] is expected: it belongs to a model "
      "of another width.");
  EXPECT_EQ(
      refusal({{"v_head.summary.weight", {40}, std::vector<float>(40)}}),
      "[scalar head] v_head.summary.weight has the shape [40]; [labels, 40] is expected: it belongs to a model of "
      "another width.");
  EXPECT_EQ(
      refusal({{"v_head.summary.weight", {0, 40}, {}}}),
      "[scalar head] v_head.summary.weight has the shape [0, 40]; [labels, 40] is expected: it belongs to a model "
      "of another width.");
  EXPECT_EQ(refusal({weight, {"v_head.summary.bias", {2}, {1, 2}}}),
            "[scalar head] v_head.summary.bias has the shape [2]; [1] is expected.");
  files::FloatTensor damaged = weight;
  damaged.values[7] = INFINITY;
  EXPECT_EQ(refusal({damaged}),
            "[scalar head] v_head.summary.weight: a weight is not finite (inf): the file is damaged, or the training "
            "that wrote it diverged.");
}

// Prompts around the page size, completions of several lengths (one empty), and which states are asked for.
struct Work {
  std::vector<std::vector<int32_t>> prompts;
  std::vector<std::vector<std::vector<int32_t>>> completions;
  std::vector<ValueGroup> groups() const {
    std::vector<ValueGroup> groups;
    for (size_t i = 0; i < prompts.size(); ++i) {
      groups.push_back({prompts[i], {}, {}});
      for (const auto& completion : completions[i]) groups.back().completions.emplace_back(completion);
      groups.back().states =
          i % 2 == 0 ? every_state(groups.back().completions) : last_state(groups.back().completions);
    }
    return groups;
  }
};

Work some_work() {
  Work work;
  uint32_t row = 0;
  for (int64_t length : {1, 15, 16, 17, 33}) {
    work.prompts.push_back(random_ids(length, 1100, row++));
    work.completions.emplace_back();
    for (int64_t tokens : {1, 0, 18, 7}) work.completions.back().push_back(random_ids(tokens, 1100, row++));
  }
  return work;
}

struct Outcome {
  std::vector<float> values, gradients;
};

Outcome run(int threads, std::string_view level, size_t groups_at_once, Dtype dtype) {
  Bench bench(threads, level, dtype);
  const Model model = bench.random_model();
  Adapter adapter = bench.random_adapter(model);
  ScalarHead head = make_value_head(*bench.context, model, 3);
  const Trainable trainable = trainable_of(adapter, &head);
  PolicyPass pass(*bench.context, "critic", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
  const Work work = some_work();
  const auto groups = work.groups();
  Outcome out;
  out.gradients.resize(static_cast<size_t>(trainable.gradient_floats));
  for (size_t g = 0; g < groups.size(); g += groups_at_once) {
    const auto& values =
        pass.values(&adapter, head, std::span(groups).subspan(g, std::min(groups_at_once, groups.size() - g)));
    std::vector<float> dvalues;
    for (size_t i = 0; i < values.size(); ++i)
      dvalues.push_back(0.01f * static_cast<float>(((out.values.size() + i) * 37) % 101) - 0.5f);
    pass.values_backward(trainable, dvalues, out.gradients.data());
    out.values.insert(out.values.end(), values.begin(), values.end());
  }
  return out;
}

TEST(ScalarHead, NeitherThreadsNorMicroBatchesChangeABit) {
  for (const std::string& level : testing::level_names())
    for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBfloat16}) {
      const Outcome whole = run(2, level, 5, dtype);
      EXPECT_EQ(whole.values.size(), 3u * (2 + 1 + 19 + 8) + 2u * 4);
      for (const auto& [threads, at_once] : {std::pair{1, 5u}, std::pair{3, 1u}, std::pair{2, 2u}}) {
        const Outcome other = run(threads, level, at_once, dtype);
        EXPECT_EQ(other.values, whole.values);
        EXPECT_EQ(other.gradients, whole.gradients);
      }
    }
}

// A state's value is that of the whole row up to there, alone.
TEST(ScalarHead, ASharedPromptGivesTheRowsOwnValues) {
  Bench bench;
  const Model model = bench.random_model();
  const Adapter adapter = bench.random_adapter(model);
  const ScalarHead head = make_value_head(*bench.context, model, 3);
  PolicyPass pass(*bench.context, "critic", model, adapter.max_padded_rank, PolicyPass::Keep::kOneLayer);
  const Work work = some_work();
  const auto groups = work.groups();
  const std::vector<float> values = pass.values(&adapter, head, groups);
  size_t entry = 0;
  for (size_t g = 0; g < groups.size(); ++g)
    for (size_t i = 0; i < groups[g].completions.size(); ++i)
      for (const int64_t state : groups[g].states[i]) {
        std::vector<int32_t> row = work.prompts[g];
        row.insert(row.end(), work.completions[g][i].begin(), work.completions[g][i].begin() + state);
        const ValueGroup alone{row, {{}}, {{0}}};
        EXPECT_EQ(pass.values(&adapter, head, {&alone, 1}).at(0), values[entry++]);
      }
  EXPECT_EQ(entry, values.size());
}

// Central differences through the whole model by one weight of the head and by one of the adapter under it.
TEST(ScalarHead, GradientsAreThoseOfFiniteDifferences) {
  Bench bench;
  const Model model = bench.random_model();
  Adapter adapter = bench.random_adapter(model);
  ScalarHead head = make_value_head(*bench.context, model, 3);
  const Trainable trainable = trainable_of(adapter, &head);
  PolicyPass pass(*bench.context, "critic", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
  const Work work = some_work();
  const auto groups = work.groups();
  auto loss = [&] {
    double sum = 0;
    for (const float value : pass.values(&adapter, head, groups)) sum += 0.5 * static_cast<double>(value * value);
    return sum;
  };
  const std::vector<float> values = pass.values(&adapter, head, groups);
  std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats));
  pass.values_backward(trainable, values, gradients.data());
  for (const ParameterTensor& tensor : trainable.tensors) {
    const bool of_head = tensor.name.find("v_head") != std::string::npos;
    if (!of_head && tensor.name.find("layers.1.mlp.up_proj.lora_B") == std::string::npos) continue;
    float& weight = tensor.values[0];
    const float before = weight;
    constexpr float kStep = 1e-2f;
    weight = before + kStep;
    pack_adapter(*bench.context, adapter);
    const double above = loss();
    weight = before - kStep;
    pack_adapter(*bench.context, adapter);
    const double below = loss();
    weight = before;
    pack_adapter(*bench.context, adapter);
    const auto gradient = static_cast<double>(gradients[tensor.offset]);
    // float32 values of about 1 over a step of 1e-2: 1e-3 of the gradient, and the curvature's part is smaller.
    EXPECT_NEAR((above - below) / (2.0 * kStep), gradient, 1e-2 * std::abs(gradient) + 1e-3) << tensor.name;
    EXPECT_NE(gradient, 0) << tensor.name;
  }
}

// Three reward models with an adapter and a head each: one pass over all of them gives what each gives by itself.
TEST(ScalarHead, AnEnsembleIsOnePass) {
  for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBfloat16}) {
    Bench bench(2, "", dtype);
    const Model model = bench.random_model();
    const Work work = some_work();
    const auto groups = work.groups();
    std::vector<Adapter> adapters;
    std::vector<ScalarHead> heads;
    for (uint64_t member = 0; member < 3; ++member) {
      adapters.push_back(bench.random_adapter(model, 4, 7 + member));
      heads.push_back(make_value_head(*bench.context, model, member));
    }
    PolicyPass pass(*bench.context, "reward", model, adapters[0].max_padded_rank, PolicyPass::Keep::kAllLayers);
    std::vector<Trainable> trainables;
    std::vector<std::vector<float>> alone, together;
    std::vector<float> values;
    for (size_t member = 0; member < 3; ++member) {
      trainables.push_back(trainable_of(adapters[member], &heads[member]));
      const std::vector<float> own = pass.values(&adapters[member], heads[member], groups);
      values.insert(values.end(), own.begin(), own.end());
      alone.emplace_back(static_cast<size_t>(trainables[member].gradient_floats));
      pass.values_backward(trainables[member], own, alone[member].data());
      together.emplace_back(alone[member].size());
    }
    std::vector<const Adapter*> of_adapters;
    std::vector<const ScalarHead*> of_heads;
    std::vector<PolicyPass::Trained> trained;
    std::vector<ValueGroup> all;
    for (size_t member = 0; member < 3; ++member)
      for (const ValueGroup& group : groups) {
        all.push_back(group);
        of_adapters.push_back(&adapters[member]);
        of_heads.push_back(&heads[member]);
        trained.push_back({&trainables[member], together[member].data()});
      }
    EXPECT_EQ(pass.values(of_adapters, of_heads, all), values);
    pass.values_backward(trained, values);
    EXPECT_EQ(together, alone);
  }
}

// A head alone on the frozen base: its gradients are those that it has beside an adapter, and nothing below is
// computed.
TEST(ScalarHead, TrainsAlone) {
  Bench bench;
  const Model model = bench.random_model();
  Adapter adapter = bench.random_adapter(model);
  ScalarHead head = make_value_head(*bench.context, model, 3);
  const Trainable alone = trainable_of(head), both = trainable_of(adapter, &head);
  EXPECT_EQ(alone.parameters, 41);
  EXPECT_EQ(both.parameters, adapter.trainable + 41);
  PolicyPass pass(*bench.context, "probe", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
  const Work work = some_work();
  const auto groups = work.groups();
  const std::vector<float> dvalues = pass.values(&adapter, head, groups);
  std::vector<float> of_alone(static_cast<size_t>(alone.gradient_floats)),
      of_both(static_cast<size_t>(both.gradient_floats));
  pass.values_backward(alone, dvalues, of_alone.data());
  pass.values_backward(both, dvalues, of_both.data());
  EXPECT_EQ(of_alone, std::vector<float>(of_both.end() - static_cast<std::ptrdiff_t>(of_alone.size()), of_both.end()));
}

}  // namespace
}  // namespace candor::engine
