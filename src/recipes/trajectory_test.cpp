// Two trainings by TRL's GRPOTrainer (shared/golden/trajectories), step by step through our engine, losses, schedule
// and optimizer. Completions and rewards are given; everything else, the old and the reference log-probabilities
// included, is computed here.
#include <gtest/gtest.h>

#include <functional>

#include "algorithms/advantages.h"
#include "algorithms/grpo.h"
#include "algorithms/schedule.h"
#include "engine/optimizer.h"
#include "engine/testing.h"
#include "support/golden_model.h"

namespace candor::recipes {
namespace {

using candor::testing::golden;
using candor::testing::json_of;
using candor::testing::read_text;
using candor::testing::value_of;
using engine::PolicyPass;
using engine::RolloutGroup;
using engine::testing::Bench;
using nlohmann::json;

constexpr size_t kMicroBatchRows = 4, kMicroBatches = 2, kStepRows = 8, kGroup = 4;

std::vector<json> lines_of(const std::filesystem::path& path) {
  std::vector<json> lines;
  std::istringstream text(read_text(path));
  for (std::string line; std::getline(text, line);) lines.push_back(json::parse(line));
  return lines;
}

// The rows of a step: two micro-batches.
struct StepRows {
  std::vector<std::vector<int32_t>> prompts, completions;
  std::vector<int64_t> offsets = {0};
  std::vector<double> their_advantages, their_reference, their_logprobs;

  void append(const json& batch) {
    for (size_t i = 0; i < batch.at("prompt_ids").size(); ++i) {
      auto counted = [&](const char* ids, const char* mask) {
        std::vector<int32_t> out;
        for (size_t t = 0; t < batch.at(ids)[i].size(); ++t)
          if (batch.at(mask)[i][t] == 1) out.push_back(batch.at(ids)[i][t]);
        return out;
      };
      prompts.push_back(counted("prompt_ids", "prompt_mask"));
      completions.push_back(counted("completion_ids", "completion_mask"));
      offsets.push_back(offsets.back() + static_cast<int64_t>(completions.back().size()));
      their_advantages.push_back(batch.at("advantages")[i]);
      for (size_t t = 0; t < completions.back().size(); ++t) {
        their_reference.push_back(batch.at("ref_per_token_logps")[i][t]);
        their_logprobs.push_back(batch.at("logprobs")[i][t]);
      }
    }
  }
  // Micro-batches mix groups, so each row is a group of one.
  std::vector<RolloutGroup> groups(size_t first, size_t count) const {
    std::vector<RolloutGroup> groups;
    for (size_t i = first; i < first + count; ++i) groups.push_back({prompts[i], {completions[i]}});
    return groups;
  }
};

// What a twin may change.
struct Changes {
  double max_grad_norm = 1.0;
  double beta_sign = 1;
  bool decay = true, keeps_old = true, reference_off = true;
};

// The worst errors of a whole run, each against its recorded number.
struct Errors {
  double loss = 0, micro_batch_loss = 0, grad_norm = 0, learning_rate = 0, parameter_norm = 0, final_weight = 0;
  double advantages = 0, reference = 0, logprobs = 0, kl = 0, clip_ratio = 0;
};

void worse(double& worst, double ours, double theirs, double scale = 1) {
  const double difference = std::abs(ours - theirs) / scale;
  if (!(difference <= worst)) worst = std::isnan(difference) ? INFINITY : difference;
}

double metric(const algorithms::Metrics& metrics, const std::string& name) {
  for (const auto& m : metrics)
    if (m.name == name) return m.value;
  return NAN;
}

Errors replay(const std::string& name, const char* level, const Changes& changes) {
  const auto folder = golden("trajectories/" + name);
  const json config = json_of(folder / "config.json");
  const auto batches = lines_of(folder / "batches.jsonl"), steps = lines_of(folder / "steps.jsonl"),
             data = lines_of(folder / "data.jsonl");
  Bench bench(2, level);
  const engine::Model model = bench.load(value_of(files::open_model(golden("trajectories/model"))));
  engine::Adapter adapter = value_of(engine::adapter_from_peft(
      *bench.context, model,
      value_of(files::read_peft_adapter(golden("trajectories") / config.at("initial_adapter").get<std::string>()))));
  const engine::Trainable trainable = engine::trainable_of(adapter);
  engine::AdamwState state = engine::make_adamw(*bench.context, trainable);
  engine::AdamwOptions adamw;
  adamw.max_grad_norm = changes.max_grad_norm;
  algorithms::GrpoOptions options;
  options.loss_type = config.at("loss_type") == "dapo" ? algorithms::LossType::kDapo : algorithms::LossType::kGrpo;
  options.beta = changes.beta_sign * config.at("beta").get<double>();
  options.kl_in_loss =
      config.at("use_bias_correction_kl") ? algorithms::KlInLoss::kCorrectedK3 : algorithms::KlInLoss::kK3;
  const algorithms::Schedule schedule{
      changes.decay ? algorithms::SchedulerType::kLinear : algorithms::SchedulerType::kConstant,
      config.at("learning_rate"), config.at("max_steps")};
  PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
  // Log-probabilities of all rows of a step.
  auto logprobs_of = [&](const engine::Adapter* role, const StepRows& rows) {
    const auto& out = pass.forward(role, rows.groups(0, kStepRows), 1.0);
    return std::vector<double>(out.logprobs.begin(), out.logprobs.end());
  };

  Errors errors;
  std::vector<double> old, reference;
  for (size_t step = 0; step < steps.size(); ++step) {
    StepRows rows;
    for (size_t b = 0; b < kMicroBatches; ++b) rows.append(batches[step * kMicroBatches + b]);
    if (step % 2 == 0 || !changes.keeps_old) old = logprobs_of(&adapter, rows);  // two steps for each generation
    reference = logprobs_of(changes.reference_off ? nullptr : &adapter, rows);
    std::vector<double> rewards;
    for (size_t i = 0; i < kStepRows; ++i) {
      const json& row = data[step / 2 * kStepRows + i];
      EXPECT_EQ(row.at("completion_ids").get<std::vector<int32_t>>(), rows.completions[i]);
      rewards.push_back(row.at("reward"));
    }
    const auto advantages = value_of(algorithms::group_advantages(rewards, 1, kGroup, {})).advantages;
    const algorithms::RaggedRows ragged{rows.offsets, {}};
    const auto weights = algorithms::loss_normalizer(ragged, options.loss_type,
                                                     {.max_completion_length = config.at("max_completion_length"),
                                                      .local_batch_rows = kMicroBatchRows,
                                                      .accumulation_steps = kMicroBatches})
                             .row_weights;

    std::vector<float> gradients(static_cast<size_t>(adapter.parameters.size()), 0.0f);
    double loss = 0, kl = 0, clipped = 0;
    for (size_t b = 0; b < kMicroBatches; ++b) {
      const size_t first = b * kMicroBatchRows;
      const auto& out = pass.forward(&adapter, rows.groups(first, kMicroBatchRows), 1.0);
      const std::vector<double> logprobs(out.logprobs.begin(), out.logprobs.end());
      auto cut = [&](const std::vector<double>& all) {
        return ragged.tokens_of(std::span<const double>(all), first, kMicroBatchRows);
      };
      algorithms::GrpoInputs in;
      in.rows = ragged.slice(first, kMicroBatchRows);
      in.logprobs = logprobs;
      in.old_logprobs = cut(old);
      in.reference_logprobs = cut(reference);
      in.advantages = std::span<const double>(advantages).subspan(first, kMicroBatchRows);
      in.row_weights = std::span<const double>(weights).subspan(first, kMicroBatchRows);
      const algorithms::GrpoLoss result = algorithms::grpo_loss(in, options);
      const std::vector<float> dlogprob(result.d_logprobs.begin(), result.d_logprobs.end());
      pass.backward(trainable, dlogprob, std::vector<float>(dlogprob.size(), 0.0f), gradients.data());
      loss += result.loss();
      worse(errors.micro_batch_loss, result.loss(), steps[step].at("micro_batch_losses")[b]);
      const auto metrics = algorithms::grpo_metrics(result.rows, options, {false, true});
      kl += metric(metrics, "kl") / kMicroBatches;
      clipped += metric(metrics, "clip_ratio/region_mean") / kMicroBatches;
      for (size_t t = 0; t < logprobs.size(); ++t) {
        const size_t entry = static_cast<size_t>(rows.offsets[first]) + t;
        worse(errors.logprobs, logprobs[t], rows.their_logprobs[entry]);
        worse(errors.reference, reference[entry], rows.their_reference[entry]);
      }
    }
    const json& recorded = steps[step];
    const double norm = engine::gradient_norm(*bench.context, trainable, gradients.data());
    const double rate = algorithms::learning_rate(schedule, static_cast<int64_t>(step));
    engine::adamw_step(*bench.context, adamw, rate, norm, gradients.data(), state, trainable);
    for (size_t i = 0; i < kStepRows; ++i) worse(errors.advantages, advantages[i], rows.their_advantages[i]);
    worse(errors.loss, loss, recorded.at("loss"));
    worse(errors.grad_norm, norm, recorded.at("grad_norm"), recorded.at("grad_norm"));
    worse(errors.learning_rate, rate, recorded.at("learning_rate"));
    worse(errors.parameter_norm, engine::gradient_norm(*bench.context, trainable, adapter.parameters.data()),
          recorded.at("parameter_norm_after"));
    worse(errors.kl, kl, recorded.at("metrics").at("kl"));
    worse(errors.clip_ratio, clipped, recorded.at("metrics").at("clip_ratio/region_mean"));
  }
  const engine::Adapter theirs =
      value_of(engine::adapter_from_peft(*bench.context, model, value_of(files::read_peft_adapter(folder / "final"))));
  EXPECT_EQ(theirs.parameters.size(), adapter.parameters.size());
  for (int64_t i = 0; i < adapter.parameters.size(); ++i)
    worse(errors.final_weight, adapter.parameters[i], theirs.parameters[i]);
  return errors;
}

// How far TRL's own run moves when its weights are changed in the last bit.
json noise_of(const std::string& name) {
  return json_of(golden("trajectories/sensitivity.json")).at(name).at("base_weights_times_1_plus_1e-7_noise");
}

class Trajectory : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {
 protected:
  void SetUp() override { CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json")); }
};

TEST_P(Trajectory, EveryStepIsTrls) {
  using candor::testing::expect_within;
  const std::string name = std::get<0>(GetParam());
  const Errors errors = replay(name, std::get<1>(GetParam()), {});
  const json noise = noise_of(name);
  expect_within("loss", errors.loss, 1e-5);  // the README's; TRL moves by 3e-7 under noise in the last bit
  expect_within("micro_batch_loss", errors.micro_batch_loss, 1e-5);
  // A forward in another order of additions is noise in every product, not only in the weights: 8 times as much.
  expect_within("grad_norm", errors.grad_norm, 8 * noise.at("max_relative_grad_norm_difference").get<double>());
  expect_within("final_weight", errors.final_weight, 8 * noise.at("max_final_weight_difference").get<double>());
  expect_within("learning_rate", errors.learning_rate, 1e-17);   // the last bit of 3e-3 is 4e-19
  expect_within("parameter_norm", errors.parameter_norm, 1e-5);  // 4096 weights, each moved by at most the above
  expect_within("advantages", errors.advantages, 1e-6);          // torch has them in float32, rewards too
  // float32 log-probabilities around 5 of 2 layers of width 32, and the step's noise in the weights on top.
  expect_within("reference", errors.reference, 5e-6);
  expect_within("logprobs", errors.logprobs, 2e-5);
  expect_within("kl", errors.kl, 1e-5);                  // as the loss, before it is multiplied by beta
  expect_within("clip_ratio", errors.clip_ratio, 1e-7);  // the same tokens: float32's rounding of a share
}

INSTANTIATE_TEST_SUITE_P(Grpo, Trajectory,
                         ::testing::Combine(::testing::Values("grpo_lora", "grpo_lora_classic"),
                                            ::testing::Values("plain", "")),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) +
                                  (*std::get<1>(info.param) == '\0' ? "_best" : "_plain");
                         });

TEST(TrajectoryTwins, AreRejected) {
  CANDOR_REQUIRE_FILE(golden("trajectories/sensitivity.json"));
  const std::vector<std::pair<const char*, Changes>> twins = {
      {"no clipping", {.max_grad_norm = 0}},
      {"the KL's sign", {.beta_sign = -1}},
      {"no decay", {.decay = false}},
      {"old log-probabilities of now", {.keeps_old = false}},
      {"the reference is the policy", {.reference_off = false}},
  };
  for (const auto& [what, changes] : twins) {
    const Errors errors = replay("grpo_lora", "", changes);
    EXPECT_GT(errors.loss, 1e-4) << what;  // ten times the tolerance
    EXPECT_GT(errors.final_weight, 80 * noise_of("grpo_lora").at("max_final_weight_difference").get<double>()) << what;
  }
}

}  // namespace
}  // namespace candor::recipes
