// The rewards that are rules, one maker each; make_reward (rewards.h) chooses by name and says what each computes.
#pragma once

#include "base/result.h"
#include "rewards/rewards.h"

namespace candor::rewards {

Result<Reward> accuracy_reward(const RewardParams& params);
Result<Reward> format_reward(const RewardParams& params);
Result<Reward> think_format_reward(const RewardParams& params);
Result<Reward> cosine_scaled_reward(const RewardParams& params);
Result<Reward> length_reward(const RewardParams& params);
Result<Reward> overlong_reward(const RewardParams& params);
Result<Reward> repetition_reward(const RewardParams& params);

}  // namespace candor::rewards
