// Advantages of the REINFORCE family, whose loss is grpo_loss: RLOO (arXiv 2402.14740), REINFORCE++ with and without a
// group baseline (2501.03262), ReMax (2310.10505).
//
// RLOO is grpo_loss with LossType::kGrpo, RatioLevel::kSequenceSum and one accumulation step; the others take the
// token's ratio, a KL in the loss as KlInLoss::kK2, and any loss type's denominator.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "algorithms/ragged.h"

namespace candor::algorithms {

struct RlooOptions {
  std::optional<std::pair<double, double>> reward_clip_range;  // of the reward, before the KL is taken off
  bool normalize_advantages = false;                           // (A - mean) / (std + 1e-4) over the batch, std with n-1
};

// [N] r_i - the mean of the group's other scored rows' r, with r = clip(reward) - penalty; a row without any other: 0.
// rewards [N], NaN = nobody scored the row: its advantage is 0 and the others do not see it. Groups are `group_size`
// adjacent rows; penalties [N]: β times the row's KL of the policy that sampled (row_kl_k1); empty: none.
std::vector<double> rloo_advantages(std::span<const double> rewards, size_t group_size, const RlooOptions& options,
                                    std::span<const double> penalties = {});

// [tokens] Σ over the row's counted tokens from t on of (old - reference): the KL that is still to come; 0 under the
// mask.
std::vector<double> kl_to_go(const RaggedRows& rows, std::span<const double> old_logprobs,
                             std::span<const double> reference_logprobs);

// [tokens] REINFORCE++: R - β·kl_to_go, whitened over all counted tokens
// of the generation batch (ppo.h's whitened). rewards [N]; a row that nobody scored (NaN) has 0 and is not whitened
// with the others. reference empty: no KL.
std::vector<double> reinforce_pp_advantages(const RaggedRows& rows, std::span<const double> rewards,
                                            std::span<const double> old_logprobs,
                                            std::span<const double> reference_logprobs, double beta);

// [tokens] with the group's mean as baseline: R - mean, without a standard deviation, whitened over all counted tokens.
std::vector<double> reinforce_pp_baseline_advantages(const RaggedRows& rows, std::span<const double> rewards,
                                                     size_t group_size);

// [N] R - the reward of the greedy completion of the same prompt; greedy_rewards [N / group_size]. NaN on either side:
// 0.
std::vector<double> remax_advantages(std::span<const double> rewards, std::span<const double> greedy_rewards,
                                     size_t group_size);

// [tokens] The same with the KL in the reward: remax_advantages - β·kl_to_go; 0 where remax_advantages has no reward.
std::vector<double> remax_advantages_with_kl(const RaggedRows& rows, std::span<const double> rewards,
                                             std::span<const double> greedy_rewards, size_t group_size,
                                             std::span<const double> old_logprobs,
                                             std::span<const double> reference_logprobs, double beta);

}  // namespace candor::algorithms
