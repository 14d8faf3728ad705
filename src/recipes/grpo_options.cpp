#include "recipes/grpo_options.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "rewards/reward_endpoint.h"
#include "rewards/reward_program.h"

namespace candor::recipes {

Result<std::vector<rewards::Reward>> make_rewards(const GrpoConfig& config) {
  rewards::RewardParams params;
  params.extraction = config.accuracy_extraction;
  params.pattern = config.format_regex;
  params.length_target = static_cast<double>(config.length_target.value_or(0));
  params.longer = config.length_reward == "longer";
  params.max_completion_length = config.max_completion_length;
  params.overlong_max = config.overlong_max.value_or(config.max_completion_length);
  params.overlong_cache = config.overlong_cache.value_or(0);
  params.repetition_ngram = config.repetition_ngram_size;
  params.repetition_max_penalty = config.repetition_max_penalty;
  params.cosine_max_len = config.cosine_max_len.value_or(config.max_completion_length);
  params.cosine_values = {config.cosine_min_value_wrong, config.cosine_max_value_wrong, config.cosine_min_value_correct,
                          config.cosine_max_value_correct};
  const std::filesystem::path cache = std::filesystem::path(config.output_dir) / "reward_cache.jsonl";
  constexpr int64_t kMebibyte = 1 << 20;
  std::vector<rewards::Reward> all;
  for (const std::string& name : config.reward_funcs) {
    if (name == "program")
      all.push_back(rewards::program_reward(
          {config.reward_program, config.reward_timeout, config.reward_memory_mib * kMebibyte, cache}));
    else if (name == "endpoint")
      all.push_back(TRY(rewards::endpoint_reward(
          {config.reward_endpoint, config.reward_endpoint_key_env, config.reward_timeout, cache})));
    else
      all.push_back(TRY(rewards::make_reward(name, params)));
  }
  return all;
}

namespace {

algorithms::LossType loss_type(const GrpoConfig& config) {
  using algorithms::LossType;
  constexpr std::pair<std::string_view, LossType> kTypes[] = {
      {"dapo", LossType::kDapo}, {"grpo", LossType::kGrpo},   {"dr_grpo", LossType::kDrGrpo},
      {"bnpo", LossType::kBnpo}, {"luspo", LossType::kLuspo}, {"cispo", LossType::kCispo},
      {"sapo", LossType::kSapo}, {"vespo", LossType::kVespo}, {"gmpo", LossType::kGmpo}};
  const auto known = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const auto& type) { return type.first == config.loss_type; });
  CHECK(known != std::end(kTypes));  // the field's choices
  return known->second;
}

algorithms::KlInLoss kl_in_loss(const GrpoConfig& config) {
  using algorithms::KlInLoss;
  if (config.kl_estimator == "k1") return KlInLoss::kK1;
  if (config.kl_estimator == "k2") return KlInLoss::kK2;
  return config.use_bias_correction_kl && config.loss_type != "gmpo" ? KlInLoss::kCorrectedK3 : KlInLoss::kK3;
}

}  // namespace

algorithms::GrpoOptions loss_options(const GrpoConfig& config) {
  algorithms::GrpoOptions options;
  options.loss_type = loss_type(config);
  options.importance_sampling_level = config.importance_sampling_level == "sequence" ? algorithms::RatioLevel::kSequence
                                      : config.importance_sampling_level == "sequence_sum"
                                          ? algorithms::RatioLevel::kSequenceSum
                                          : algorithms::RatioLevel::kToken;
  options.epsilon = config.epsilon;
  options.epsilon_high = config.epsilon_high;
  options.delta = config.delta;
  options.beta = config.kl_placement == "loss" ? config.beta : 0.0;
  options.kl_in_loss = kl_in_loss(config);
  options.k3_log_ratio_clamp = config.k3_log_ratio_clamp;
  options.k3_clamp = config.k3_clamp;
  options.off_policy_mask_threshold = config.off_policy_mask_threshold;
  options.sapo_temperature_pos = config.sapo_temperature_pos;
  options.sapo_temperature_neg = config.sapo_temperature_neg;
  options.vespo_k_pos = config.vespo_k_pos;
  options.vespo_lambda_pos = config.vespo_lambda_pos;
  options.vespo_k_neg = config.vespo_k_neg;
  options.vespo_lambda_neg = config.vespo_lambda_neg;
  return options;
}

algorithms::AdvantageOptions advantage_options(const GrpoConfig& config) {
  algorithms::AdvantageOptions options;
  options.scale_rewards = config.scale_rewards == "batch"  ? algorithms::ScaleRewards::kBatch
                          : config.scale_rewards == "none" ? algorithms::ScaleRewards::kNone
                                                           : algorithms::ScaleRewards::kGroup;
  options.aggregation = config.multi_objective_aggregation == "normalize_then_sum"
                            ? algorithms::RewardAggregation::kNormalizeThenSum
                            : algorithms::RewardAggregation::kSumThenNormalize;
  options.reward_weights = config.reward_weights;
  options.std_epsilon = config.std_epsilon;
  return options;
}

engine::SamplingOptions sampling_options(const GrpoConfig& config, const files::ModelConfig& model, int64_t step) {
  engine::SamplingOptions options;
  options.temperature = config.temperature;
  options.top_k = config.top_k;
  options.top_p = config.top_p;
  options.min_p = config.min_p.value_or(0.0);
  options.repetition_penalty = config.repetition_penalty;
  options.max_new_tokens = config.max_completion_length;
  options.stop_ids = model.eos_ids;
  options.stop_strings = config.stop;
  options.seed = static_cast<uint64_t>(config.seed);
  options.step = static_cast<uint32_t>(step);
  if (config.generation_rows > 0) options.max_rows = config.generation_rows;
  return options;
}

}  // namespace candor::recipes
