#include "recipes/grpo_options.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace candor::recipes {

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

}  // namespace candor::recipes
