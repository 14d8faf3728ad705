// Scalar heads against torch in float64: TRL's value head over an adapter (shared/golden/adapters/value_head),
// Transformers' sequence classifier (golden/models/llama_reward), and TRL's RewardTrainer, twenty steps of an adapter
// with its score (golden/trajectories/reward_lora).
#include <gtest/gtest.h>

#include "base/math.h"
#include "engine/optimizer.h"
#include "engine/roles.h"
#include "engine/testing.h"
#include "support/golden_model.h"
#include "support/sft_trajectory.h"

namespace candor::engine {
namespace {

using candor::testing::expect_within;
using candor::testing::golden;
using candor::testing::golden_tolerance;
using candor::testing::json_of;
using candor::testing::value_of;
using candor::testing::worst_difference;
using files::SafetensorsFile;
using nlohmann::json;
using testing::Bench;

class GoldenHeads : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, GoldenHeads, ::testing::Values("plain", ""),
                         [](const auto& info) { return *info.param == '\0' ? "best" : "plain"; });

// One tensor of a gradient buffer as it lies on disk.
std::vector<float> on_disk(const Trainable& trainable, const ParameterTensor& tensor, const std::vector<int64_t>& shape,
                           const std::vector<float>& gradients) {
  const float* from = gradients.data() + tensor.offset;
  if (shape.size() == 1) return {from, from + shape[0]};
  const bool panels = trainable.model != nullptr && tensor.offset != trainable.weights.scalar_weight;
  if (panels) return candor::testing::unpacked(from, shape[0], shape[1]);
  std::vector<float> rows;
  for (int64_t row = 0; row < shape[0]; ++row)
    rows.insert(rows.end(), from + row * padded(shape[1]), from + row * padded(shape[1]) + shape[1]);
  return rows;
}

// Every gradient that the oracle has, under its own name (`name` gives it); nothing may be left over.
void expect_gradients(const Trainable& trainable, const std::vector<float>& gradients, const SafetensorsFile& tensors,
                      const json& recorded, const std::function<std::string(const std::string&)>& name) {
  for (const ParameterTensor& tensor : trainable.tensors) {
    const std::string key = name(tensor.name);
    const files::TensorInfo* info = tensors.find("grad." + key);
    ASSERT_NE(info, nullptr) << key;
    expect_within(
        key, worst_difference(on_disk(trainable, tensor, info->shape, gradients), value_of(tensors.floats(info->name))),
        golden_tolerance(recorded.at(key)[0], recorded.at(key)[1]));
  }
  EXPECT_EQ(trainable.tensors.size(), recorded.size());
}

double as_tolerance(const json& float32_difference, double largest) {
  return golden_tolerance(float32_difference.get<double>(), largest);
}

TEST_P(GoldenHeads, ValuesObjectiveAndEveryGradientOfTheValueHead) {
  CANDOR_REQUIRE_FILE(golden("adapters/value_head"));
  const auto tensors = value_of(SafetensorsFile::open(golden("adapters/value_head/golden.safetensors")));
  const json recorded = json_of(golden("adapters/value_head/golden.json"));
  const auto batch = candor::testing::read_golden_batch(tensors);
  Bench bench(2, GetParam());
  const Model model = bench.load(value_of(files::open_model(golden("models/llama"))));
  Role critic = value_of(
      role_from_peft(*bench.context, "critic", model, value_of(files::read_peft_adapter(golden("adapters/lora")))));
  std::vector<files::FloatTensor> of_head;
  for (const char* name : {"v_head.summary.weight", "v_head.summary.bias"})
    of_head.push_back({name, tensors.find(name)->shape, value_of(tensors.floats(name))});
  critic.head = value_of(scalar_head_of(critic.in(*bench.context), model, kValueHead, of_head));
  const Trainable trainable = trainable_of(critic);

  PolicyPass pass(*bench.context, "critic", model, critic.adapter->max_padded_rank, PolicyPass::Keep::kAllLayers);
  const auto groups = candor::testing::value_groups(batch.rows);
  const std::vector<float> values = pass.values(critic.adapter_or_null(), *critic.head, groups);
  const auto expected = batch.ragged(value_of(tensors.floats("values")), 1);
  double largest = 0;
  for (const float value : expected) largest = std::max(largest, std::abs(static_cast<double>(value)));
  const json& differences = recorded.at("float32_vs_float64");
  expect_within("values", worst_difference(values, expected), as_tolerance(differences.at("values"), largest));
  const auto coefficients = batch.ragged(value_of(tensors.floats("coefficients")), 1);
  double objective = 0;
  for (size_t i = 0; i < values.size(); ++i)
    objective += static_cast<double>(values[i]) * static_cast<double>(coefficients[i]);
  const double exact = recorded.at("objective");
  expect_within("objective", std::abs(objective - exact), as_tolerance(differences.at("objective"), std::abs(exact)));

  std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats));
  pass.values_backward(trainable, coefficients, gradients.data());
  const json& of_gradients = recorded.at("gradient_float32_vs_float64").at("per_tensor_diff_and_max");
  auto trls = [](const std::string& name) {  // TRL keeps the head beside PEFT's model
    return name.find("v_head") == std::string::npos ? name : name.substr(std::string("base_model.model.").size());
  };
  expect_gradients(trainable, gradients, tensors, of_gradients, trls);
}

TEST_P(GoldenHeads, ScoresLossAndEveryGradientOfASequenceClassifier) {
  CANDOR_REQUIRE_FILE(golden("models/llama_reward"));
  const auto tensors = value_of(SafetensorsFile::open(golden("models/llama_reward/golden.safetensors")));
  const json recorded = json_of(golden("models/llama_reward/golden.json"));
  const auto batch = candor::testing::read_golden_batch(tensors);
  Bench bench(2, GetParam());
  Role reward = value_of(role_of_model(*bench.context, "reward",
                                       value_of(files::open_model(golden("models/llama_reward"))), Dtype::kFloat32));
  ASSERT_TRUE(reward.head);
  PolicyPass pass(*bench.context, "reward", *reward.model, 0, PolicyPass::Keep::kAllLayers);
  auto groups = candor::testing::value_groups(batch.rows);
  const json& differences = recorded.at("float32_vs_float64");
  expect_within("scores_all",
                worst_difference(pass.values(nullptr, *reward.head, groups),
                                 batch.ragged(value_of(tensors.floats("scores_all")), 1)),
                as_tolerance(differences.at("scores_all"), 2));

  // The last token alone: neither row ends in the padding id, so it is the row's last.
  const auto last = value_of(tensors.integers("last_index"));
  for (size_t i = 0; i < groups.size(); ++i) {
    EXPECT_EQ(last[i], static_cast<int64_t>(batch.rows[i].size()) - 1);
    groups[i].states = last_state(groups[i].completions);
  }
  const std::vector<float> scores = pass.values(nullptr, *reward.head, groups);
  expect_within("scores", worst_difference(scores, value_of(tensors.floats("scores"))),
                as_tolerance(differences.at("scores"), 2));
  const double margin = static_cast<double>(scores[0]) - static_cast<double>(scores[1]);
  expect_within("loss", std::abs(exact_log(1 + exact_exp(-margin)) - recorded.at("loss").get<double>()),
                as_tolerance(differences.at("loss"), 1.1));

  const Trainable trainable = trainable_of(*reward.own_model, &*reward.head);
  std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats));
  const auto slope = static_cast<float>(1 / (1 + exact_exp(margin)));  // of -log sigmoid, downwards
  pass.values_backward(trainable, std::vector<float>{-slope, slope}, gradients.data());
  const json& of_gradients = recorded.at("gradient_float32_vs_float64").at("per_tensor_diff_and_max");
  expect_gradients(trainable, gradients, tensors, of_gradients, [](const std::string& name) { return name; });
}

// A line of reward_lora's batches: the chosen halves of its pairs, then the rejected ones.
struct PairBatch {
  std::vector<std::vector<int32_t>> rows;
  explicit PairBatch(const json& line) {
    for (size_t i = 0; i < line.at("input_ids").size(); ++i) {
      rows.emplace_back();
      for (size_t t = 0; t < line["input_ids"][i].size() && line.at("attention_mask")[i][t] == 1; ++t)
        rows.back().push_back(line["input_ids"][i][t]);
    }
  }
};

struct RewardReplay {
  double loss = 0, relative_grad_norm = 0, parameter_norm = 0, final_weight = 0;
};

// TRL's RewardTrainer on 4 pairs at a time, 2 micro-batches a step: the mean of -log sigmoid(chosen - rejected).
RewardReplay replay_rewards(const char* level, const std::function<int64_t(int64_t length)>& scored_state) {
  const auto folder = golden("trajectories/reward_lora");
  const auto batches = candor::testing::json_lines(folder / "batches.jsonl"),
             steps = candor::testing::json_lines(folder / "steps.jsonl");
  Bench bench(2, level);
  const Model model = bench.load(value_of(files::open_model(golden("trajectories/model"))));
  Role reward = value_of(role_from_peft(*bench.context, "reward", model,
                                        value_of(files::read_peft_adapter(golden("trajectories/adapters/reward")))));
  const Trainable trainable = trainable_of(reward);
  EXPECT_EQ(trainable.parameters, json_of(folder / "config.json").at("trainable_parameters"));
  AdamwState state = make_adamw(*bench.context, trainable);
  PolicyPass pass(*bench.context, "reward", model, reward.adapter->max_padded_rank, PolicyPass::Keep::kAllLayers);
  RewardReplay worst;
  auto worse = [](double& all, double ours, double theirs, double scale = 1) {
    const double difference = std::abs(ours - theirs) / scale;
    if (!(difference <= all)) all = std::isnan(difference) ? INFINITY : difference;
  };
  for (size_t step = 0; step < steps.size(); ++step) {
    std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats));
    double loss = 0;
    for (size_t b = 0; b < 2; ++b) {
      const PairBatch batch(batches[2 * step + b]);
      auto groups = candor::testing::value_groups(batch.rows);
      for (ValueGroup& group : groups)
        group.states = {{scored_state(static_cast<int64_t>(group.completions[0].size()))}};
      const std::vector<float> scores = pass.values(reward.adapter_or_null(), *reward.head, groups);
      const size_t pairs = scores.size() / 2;
      std::vector<float> dscores(scores.size());
      for (size_t i = 0; i < pairs; ++i) {
        const double margin = static_cast<double>(scores[i]) - static_cast<double>(scores[pairs + i]);
        const double share = 1.0 / static_cast<double>(2 * pairs);
        loss += share * exact_log(1 + exact_exp(-margin));
        dscores[i] = static_cast<float>(-share / (1 + exact_exp(margin)));
        dscores[pairs + i] = -dscores[i];
      }
      pass.values_backward(trainable, dscores, gradients.data());
    }
    const double norm = gradient_norm(*bench.context, trainable, gradients.data());
    adamw_step(*bench.context, {}, steps[step].at("learning_rate"), norm, gradients.data(), state, trainable);
    worse(worst.loss, loss, steps[step].at("loss"));
    worse(worst.relative_grad_norm, norm, steps[step].at("grad_norm"), steps[step].at("grad_norm"));
    double squares = 0;
    for (const ParameterTensor& tensor : trainable.tensors)
      squares += bench.context->kernels.sum_of_squares(tensor.values, tensor.size);
    worse(worst.parameter_norm, std::sqrt(squares), steps[step].at("parameter_norm_after"));
  }
  const auto theirs = value_of(SafetensorsFile::open(folder / "final/adapter_model.safetensors"));
  const files::PeftAdapter saved = role_to_peft(reward);
  for (const files::LoraTensors& pair : saved.pairs) {
    const std::string path = "base_model.model." + pair.module;
    worst.final_weight =
        std::max({worst.final_weight, worst_difference(pair.a, value_of(theirs.floats(path + ".lora_A.weight"))),
                  worst_difference(pair.b, value_of(theirs.floats(path + ".lora_B.weight")))});
  }
  EXPECT_EQ(saved.saved_weights.size(), 1u);
  worst.final_weight = std::max(
      worst.final_weight,
      worst_difference(saved.saved_weights.at(0).values, value_of(theirs.floats("base_model.model.score.weight"))));
  EXPECT_EQ(2 * saved.pairs.size() + 1, theirs.tensors().size());
  return worst;
}

TEST_P(GoldenHeads, TwentyStepsOfTheRewardTrainer) {
  CANDOR_REQUIRE_FILE(golden("trajectories/reward_lora"));
  const RewardReplay run = replay_rewards(GetParam(), [](int64_t length) { return length; });
  // The oracle's own run moves by 4e-7 (loss) and 9e-7 (weights) when its weights move by 1e-7 (its README).
  EXPECT_LT(run.loss, 1e-5);
  EXPECT_LT(run.relative_grad_norm, 1e-5);
  EXPECT_LT(run.parameter_norm, 1e-5);
  EXPECT_LT(run.final_weight, 5e-6);
}

TEST(GoldenHeadsTwins, AScoreAtTheTokenBeforeTheLastIsRejected) {
  CANDOR_REQUIRE_FILE(golden("trajectories/reward_lora"));
  const RewardReplay run = replay_rewards("", [](int64_t length) { return length - 1; });
  EXPECT_GT(run.loss, 1e-2);
  EXPECT_GT(run.final_weight, 1e-2);
}

}  // namespace
}  // namespace candor::engine
