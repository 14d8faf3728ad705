// For tests: a case of golden/losses/grpo_losses.json as inputs of grpo_loss, and its comparison with what TRL
// computed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "algorithms/entropy.h"
#include "algorithms/golden_numbers.h"
#include "algorithms/grpo.h"

namespace candor::algorithms::testing {

// What a test owns and grpo_loss reads.
struct Batch {
  std::vector<int64_t> offsets;
  std::vector<uint8_t> mask, kept;
  std::vector<double> logprobs, old_logprobs, reference, entropies, advantages, token_advantages, weights, correction,
      sampling, entropy_weights;
  int64_t local_batch_rows = 0, accumulation_steps = 1;
  double step_tokens = 0;
  int64_t max_completion_length = 0;
  GrpoOptions options;
  std::optional<double> top_entropy;
  double entropy_coef = 0;
  bool entropy_bonus = false;

  RaggedRows rows() const { return {offsets, mask}; }

  // Everything that is made once per step.
  void normalize() {
    weights = loss_normalizer(rows(), options.loss_type,
                              {max_completion_length, local_batch_rows, accumulation_steps, step_tokens})
                  .row_weights;
    if (top_entropy) kept = top_entropy_mask(rows(), entropies, *top_entropy, local_batch_rows);
    if (entropy_bonus)
      entropy_weights = entropy_bonus_weights(rows(), kept, entropy_coef, local_batch_rows, accumulation_steps);
  }

  // Inputs of rows first .. first+count.
  GrpoInputs inputs(size_t first, size_t count) const {
    const RaggedRows all = rows();
    auto tokens = [&](const std::vector<double>& v) { return all.tokens_of(std::span<const double>(v), first, count); };
    auto per_row = [&](const std::vector<double>& v) {
      return v.empty() ? std::span<const double>() : std::span<const double>(v).subspan(first, count);
    };
    GrpoInputs in;
    in.rows = all.slice(first, count);
    in.logprobs = tokens(logprobs);
    in.old_logprobs = tokens(old_logprobs);
    in.reference_logprobs = tokens(reference);
    in.entropies = tokens(entropies);
    in.advantages = per_row(advantages);
    in.token_advantages = tokens(token_advantages);
    in.row_weights = per_row(weights);
    in.policy_mask = all.tokens_of(std::span<const uint8_t>(kept), first, count);
    in.sampler_correction = tokens(correction);
    in.off_policy_logprobs = tokens(sampling);
    in.entropy_weights = per_row(entropy_weights);
    return in;
  }
  GrpoInputs inputs() const { return inputs(0, rows().size()); }
};

inline LossType loss_type(const std::string& name) {
  static const std::map<std::string, LossType> types{
      {"grpo", LossType::kGrpo},   {"dr_grpo", LossType::kDrGrpo}, {"dapo", LossType::kDapo},
      {"bnpo", LossType::kBnpo},   {"cispo", LossType::kCispo},    {"sapo", LossType::kSapo},
      {"luspo", LossType::kLuspo}, {"vespo", LossType::kVespo},    {"gmpo", LossType::kGmpo}};
  return types.at(name);
}

inline std::optional<double> optional_number(const json& config, const char* name) {
  if (config[name].is_null()) return std::nullopt;
  return config[name].get<double>();
}

// The batch of one case; rows keep their padding, under the mask.
inline Batch batch_of(const json& c) {
  const json &in = c["inputs"], &config = c["config"];
  const size_t n = in["logprobs"]["shape"][0], width = in["logprobs"]["shape"][1];
  Batch b;
  for (size_t i = 0; i <= n; ++i) b.offsets.push_back(static_cast<int64_t>(i * width));
  const auto mask = tensor(in, "mask"), tool_mask = tensor(in, "tool_mask");
  for (size_t t = 0; t < mask.size(); ++t) b.mask.push_back(mask[t] != 0 && (tool_mask.empty() || tool_mask[t] != 0));
  b.logprobs = tensor(in, "logprobs");
  b.old_logprobs = tensor(in, "old_logprobs");
  b.reference = tensor(in, "reference_logprobs");
  b.entropies = tensor(in, "entropies");
  b.sampling = tensor(in, "sampling_logprobs");
  const auto correction = tensor(in, "importance_sampling_ratio");
  if (!correction.empty())
    for (size_t t = 0; t < n * width; ++t) b.correction.push_back(correction[correction.size() == n ? t / width : t]);
  (in["advantages"]["shape"].size() == 2 ? b.token_advantages : b.advantages) = tensor(in, "advantages");

  GrpoOptions& o = b.options;
  o.loss_type = loss_type(config["loss_type"]);
  o.epsilon = config["epsilon"];
  o.epsilon_high = optional_number(config, "epsilon_high");
  o.delta = optional_number(config, "delta");
  o.importance_sampling_level =
      config["importance_sampling_level"] == "sequence" ? RatioLevel::kSequence : RatioLevel::kToken;
  o.beta = config["beta"];
  o.kl_in_loss = config["use_bias_correction_kl"] ? KlInLoss::kCorrectedK3 : KlInLoss::kK3;
  o.off_policy_mask_threshold = optional_number(config, "off_policy_mask_threshold");
  o.sapo_temperature_pos = config["sapo_temperature_pos"];
  o.sapo_temperature_neg = config["sapo_temperature_neg"];
  o.vespo_k_pos = config["vespo_k_pos"];
  o.vespo_lambda_pos = config["vespo_lambda_pos"];
  o.vespo_k_neg = config["vespo_k_neg"];
  o.vespo_lambda_neg = config["vespo_lambda_neg"];

  b.max_completion_length = config["max_completion_length"];
  const bool train = config["mode"] == "train";
  const int64_t blocks = train ? config["steps_per_generation"].get<int64_t>() : 1;
  b.local_batch_rows = static_cast<int64_t>(n) / blocks;
  b.accumulation_steps = train ? config["gradient_accumulation_steps"].get<int64_t>() : 1;
  if (train)
    b.step_tokens = in["num_items_in_batch"].get<double>() * static_cast<double>(b.accumulation_steps) /
                    static_cast<double>(blocks);
  if (config["top_entropy_quantile"] != 1.0) b.top_entropy = config["top_entropy_quantile"].get<double>();
  EntropyController controller;
  controller.target = config["entropy_target"];
  controller.coefficient = config["entropy_coef"];
  if (config.contains("state_before")) {
    controller.coefficient = config["state_before"].value("entropy_coef", controller.coefficient);
    controller.last_entropy = config["state_before"].value("_last_world_entropy", controller.last_entropy);
  }
  const bool adaptive = config["use_adaptive_entropy"];
  b.entropy_bonus = adaptive || controller.coefficient != 0;
  b.entropy_coef = adaptive ? controller.active_coefficient() : controller.coefficient;
  b.normalize();
  return b;
}

// The batch of one case of golden/losses/gmpo.json, which has fewer options.
inline Batch gmpo_batch_of(const json& c) {
  const json &in = c["inputs"], &config = c["config"];
  const size_t n = in["logprobs"]["shape"][0], width = in["logprobs"]["shape"][1];
  Batch b;
  for (size_t i = 0; i <= n; ++i) b.offsets.push_back(static_cast<int64_t>(i * width));
  for (double m : tensor(in, "mask")) b.mask.push_back(m != 0);
  b.logprobs = tensor(in, "logprobs");
  b.old_logprobs = tensor(in, "old_logprobs");
  b.reference = tensor(in, "reference_logprobs");
  b.entropies = tensor(in, "entropies");
  b.advantages = tensor(in, "advantages");
  b.options.loss_type = LossType::kGmpo;
  b.options.epsilon = config["epsilon"];
  b.options.epsilon_high = optional_number(config, "epsilon_high");
  b.options.beta = config["beta"];
  b.options.kl_in_loss = KlInLoss::kK3;
  b.accumulation_steps = config["gradient_accumulation_steps"];
  b.local_batch_rows = static_cast<int64_t>(n) / b.accumulation_steps;
  if (config["top_entropy_quantile"] != 1.0) b.top_entropy = config["top_entropy_quantile"].get<double>();
  b.normalize();
  return b;
}

// TRL's logged metrics: the mean over the micro-batches, without those that are NaN.
inline std::map<std::string, double> logged_metrics(const Batch& b, const GrpoLoss& loss) {
  std::map<std::string, double> sums;
  std::map<std::string, int> counts;
  const size_t block = static_cast<size_t>(b.local_batch_rows);
  for (size_t first = 0; first < loss.rows.size(); first += block)
    for (const Metric& m : grpo_metrics(std::span<const GrpoRow>(loss.rows).subspan(first, block), b.options,
                                        {!b.entropies.empty(), !b.reference.empty()})) {
      sums[m.name] += std::isnan(m.value) ? 0 : m.value;
      counts[m.name] += !std::isnan(m.value);
    }
  for (auto& [name, sum] : sums) sum = counts[name] > 0 ? sum / counts[name] : std::nan("");
  return sums;
}

}  // namespace candor::algorithms::testing
