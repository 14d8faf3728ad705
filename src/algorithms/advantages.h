// Group-relative advantages (GRPO, arXiv 2402.03300) from rewards, as TRL 1.16 computes them.
//
// A group without spread is found by max = min, not by a small standard deviation: rounding in the mean leaves a
// residue that the 1e-4 in the denominator would blow up to an advantage.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "algorithms/metrics.h"
#include "base/result.h"

namespace candor::algorithms {

// A reward that gives no opinion on a row: the row is left out of that reward's statistics. A failed scorer must never
// reach this place: it stops the run in rewards/.
inline constexpr double kAbstain = std::numeric_limits<double>::quiet_NaN();

enum class ScaleRewards { kGroup, kBatch, kNone };
enum class RewardAggregation { kSumThenNormalize, kNormalizeThenSum };

struct AdvantageOptions {
  ScaleRewards scale_rewards = ScaleRewards::kGroup;
  RewardAggregation aggregation = RewardAggregation::kSumThenNormalize;
  std::vector<double> reward_weights;  // [K]; empty: all 1
  double std_epsilon = 1e-4;           // added to the standard deviation: TRL's; verl has 1e-6, OpenRLHF 1e-9
};

struct GroupAdvantages {
  std::vector<double> advantages;  // [N]
  std::vector<double> rewards;     // [N] weighted sum of the parts, before any penalty; NaN where every part abstained
  size_t groups_without_spread = 0;           // groups of which all scored rows have one and the same reward
  size_t unscored = 0;                        // rows on which every reward abstained; their advantage is 0
  double reward = 0, reward_std = 0;          // over the scored rows of the batch; std with n-1
  double frac_reward_zero_std = 0;            // share of groups without spread; where the std is the batch's (batch,
                                              // normalize_then_sum): 1 if the whole batch has no spread, else 0
  std::vector<double> part_means, part_stds;  // [K] over the rows on which that reward did not abstain

  // reward, reward_std, frac_reward_zero_std, unscored_rows, rewards/NAME/mean, rewards/NAME/std.
  Metrics metrics(std::span<const std::string> reward_names) const;
};

// parts [N,K] row-major, NaN = abstained; groups are adjacent rows, `group_size` (G) each, so N is a multiple of it.
// penalties [N] (β times the KL in the reward; empty: none) are subtracted from the row's reward before the advantages
// and are in no logged reward.
//
// sum_then_normalize: R = Σ weight·part; A = (R - mean of the group) / (std + std_epsilon), std with n-1 of the group,
// of the batch, or no division. normalize_then_sum (arXiv 2601.05242): each part is normalized in its group, the
// weighted sum in the batch, whatever scale_rewards says. No spread, a row that nobody scored, a group with one scored
// row: A = 0. Errors: G < 2, an infinite reward, penalties with normalize_then_sum.
Result<GroupAdvantages> group_advantages(std::span<const double> parts, size_t reward_count, size_t group_size,
                                         const AdvantageOptions& options, std::span<const double> penalties = {});

// The same numbers of the rewards without advantages, which come from elsewhere (rloo.h); a group may be of one row.
// Error: an infinite reward.
Result<GroupAdvantages> reward_statistics(std::span<const double> parts, size_t reward_count, size_t group_size,
                                          std::span<const double> reward_weights,
                                          std::span<const double> penalties = {});

// [groups]: 1 where the rewards tell completions of the group apart: two scored rows with different R, or, with
// normalize_then_sum, with different numbers in any part.
std::vector<uint8_t> groups_with_spread(std::span<const double> parts, size_t reward_count, size_t group_size,
                                        const AdvantageOptions& options);

}  // namespace candor::algorithms
