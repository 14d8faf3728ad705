#include "algorithms/advantages.h"

#include <cmath>

#include "base/check.h"

namespace candor::algorithms {

namespace {

// Mean and standard deviation (n-1) of the numbers that are not NaN.
struct Spread {
  size_t count = 0;
  double mean = kAbstain, std = kAbstain;
  double min = 0, max = 0;

  bool none() const { return count >= 2 && max == min; }  // one number has no std: neither spread nor its absence
};

Spread spread(std::span<const double> values, size_t stride = 1) {
  Spread s;
  double sum = 0;
  for (size_t i = 0; i < values.size(); i += stride) {
    const double x = values[i];
    if (std::isnan(x)) continue;
    if (s.count == 0 || x < s.min) s.min = x;
    if (s.count == 0 || x > s.max) s.max = x;
    sum += x;
    ++s.count;
  }
  if (s.count == 0) return s;
  s.mean = s.max == s.min ? s.min : sum / static_cast<double>(s.count);
  if (s.count < 2) return s;
  double squares = 0;
  for (size_t i = 0; i < values.size(); i += stride)
    if (!std::isnan(values[i])) squares += (values[i] - s.mean) * (values[i] - s.mean);
  s.std = std::sqrt(squares / static_cast<double>(s.count - 1));
  return s;
}

// (x - mean) / (std + epsilon), and 0 where there is no x, no std, or no spread.
double normalized(double x, double mean, const Spread& scale, double epsilon) {
  if (std::isnan(x) || scale.count < 2 || scale.none()) return 0;
  return (x - mean) / (scale.std + epsilon);
}

std::vector<double> weights_of(std::span<const double> reward_weights, size_t reward_count) {
  CHECK(reward_weights.empty() || reward_weights.size() == reward_count);
  if (reward_weights.empty()) return std::vector<double>(reward_count, 1.0);
  return {reward_weights.begin(), reward_weights.end()};
}

std::vector<double> without(std::span<const double> rewards, std::span<const double> penalties) {
  std::vector<double> scores(rewards.begin(), rewards.end());
  for (size_t i = 0; i < penalties.size(); ++i) scores[i] -= penalties[i];
  return scores;
}

std::vector<double> weighted_sums(std::span<const double> parts, size_t k_count, std::span<const double> weights) {
  std::vector<double> sums(parts.size() / k_count, kAbstain);
  for (size_t i = 0; i < sums.size(); ++i) {
    double sum = 0;
    bool scored = false;
    for (size_t k = 0; k < k_count; ++k) {
      const double part = parts[i * k_count + k];
      if (std::isnan(part)) continue;
      sum += part * weights[k];
      scored = true;
    }
    if (scored) sums[i] = sum;
  }
  return sums;
}

// Each part normalized in its group, weighted and summed; NaN where every part abstained.
std::vector<double> sums_of_normalized(std::span<const double> parts, size_t k_count, size_t group_size,
                                       std::span<const double> weights, std::span<const double> rewards,
                                       double epsilon) {
  std::vector<double> sums(rewards.size(), 0.0);
  for (size_t first = 0; first < rewards.size(); first += group_size) {
    const auto group = parts.subspan(first * k_count, group_size * k_count);
    for (size_t k = 0; k < k_count; ++k) {
      const Spread s = spread(group.subspan(k), k_count);
      for (size_t i = 0; i < group_size; ++i)
        sums[first + i] += weights[k] * normalized(group[i * k_count + k], s.mean, s, epsilon);
    }
  }
  for (size_t i = 0; i < rewards.size(); ++i)
    if (std::isnan(rewards[i])) sums[i] = kAbstain;
  return sums;
}

}  // namespace

Result<GroupAdvantages> reward_statistics(std::span<const double> parts, size_t reward_count, size_t group_size,
                                          std::span<const double> reward_weights, std::span<const double> penalties) {
  CHECK(reward_count > 0 && group_size > 0 && parts.size() % (reward_count * group_size) == 0);
  const size_t n = parts.size() / reward_count;
  CHECK(penalties.empty() || penalties.size() == n);
  for (size_t i = 0; i < parts.size(); ++i)
    if (std::isinf(parts[i]))
      return error("[advantages] row {}: reward {} is infinite; a reward must be a finite number or abstain.",
                   i / reward_count, i % reward_count);

  GroupAdvantages out;
  out.rewards = weighted_sums(parts, reward_count, weights_of(reward_weights, reward_count));
  for (double r : out.rewards) out.unscored += std::isnan(r);
  const Spread logged = spread(out.rewards);
  out.reward = logged.mean;
  out.reward_std = logged.std;
  for (size_t k = 0; k < reward_count; ++k) {
    const Spread part = spread(parts.subspan(n > 0 ? k : 0), reward_count);
    out.part_means.push_back(part.mean);
    out.part_stds.push_back(part.std);
  }
  const std::vector<double> scores = without(out.rewards, penalties);
  for (size_t first = 0; first < n; first += group_size)
    out.groups_without_spread += spread(std::span<const double>(scores).subspan(first, group_size)).none();
  if (n > 0)
    out.frac_reward_zero_std = static_cast<double>(out.groups_without_spread) / static_cast<double>(n / group_size);
  return out;
}

Result<GroupAdvantages> group_advantages(std::span<const double> parts, size_t reward_count, size_t group_size,
                                         const AdvantageOptions& options, std::span<const double> penalties) {
  if (group_size < 2)
    return error(
        "[advantages] num_generations is {}, but a group needs at least 2 completions to be compared with each other. "
        "Raise num_generations.",
        group_size);
  const bool sum_first = options.aggregation == RewardAggregation::kSumThenNormalize;
  if (!sum_first && !penalties.empty())
    return error(
        "[advantages] the KL is in the reward, which normalize_then_sum would normalize away. Use sum_then_normalize, "
        "or put the KL in the loss.");
  GroupAdvantages out = TRY(reward_statistics(parts, reward_count, group_size, options.reward_weights, penalties));
  const size_t n = out.rewards.size();
  std::vector<double> scores = without(out.rewards, penalties);
  std::vector<Spread> in_group;
  for (size_t first = 0; first < n; first += group_size)
    in_group.push_back(spread(std::span<const double>(scores).subspan(first, group_size)));
  if (!sum_first)
    scores = sums_of_normalized(parts, reward_count, group_size, weights_of(options.reward_weights, reward_count),
                                out.rewards, options.std_epsilon);
  const Spread in_batch = spread(scores);

  out.advantages.resize(n);
  for (size_t i = 0; i < n; ++i) {
    const Spread& group = in_group[i / group_size];
    if (!sum_first)
      out.advantages[i] = normalized(scores[i], in_batch.mean, in_batch, options.std_epsilon);
    else if (options.scale_rewards == ScaleRewards::kNone)
      out.advantages[i] = std::isnan(scores[i]) ? 0.0 : scores[i] - group.mean;
    else
      out.advantages[i] = normalized(
          scores[i], group.mean, options.scale_rewards == ScaleRewards::kGroup ? group : in_batch, options.std_epsilon);
  }
  if (!sum_first || options.scale_rewards == ScaleRewards::kBatch)
    out.frac_reward_zero_std = in_batch.none() ? 1.0 : 0.0;
  return out;
}

std::vector<uint8_t> groups_with_spread(std::span<const double> parts, size_t reward_count, size_t group_size,
                                        const AdvantageOptions& options) {
  CHECK(reward_count > 0 && group_size > 0 && parts.size() % (reward_count * group_size) == 0);
  const size_t stride = reward_count * group_size;
  auto differ = [](const Spread& s) { return s.count >= 2 && s.max != s.min; };
  const std::vector<double> weights = weights_of(options.reward_weights, reward_count);
  std::vector<uint8_t> spreads;
  for (size_t first = 0; first < parts.size(); first += stride) {
    const auto group = parts.subspan(first, stride);
    bool any = false;
    if (options.aggregation == RewardAggregation::kSumThenNormalize) {
      any = differ(spread(weighted_sums(group, reward_count, weights)));
    } else {
      for (size_t k = 0; k < reward_count; ++k)
        any |= weights[k] != 0 && differ(spread(group.subspan(k), reward_count));
    }
    spreads.push_back(any);
  }
  return spreads;
}

Metrics GroupAdvantages::metrics(std::span<const std::string> reward_names) const {
  CHECK(reward_names.size() == part_means.size());
  Metrics out{{"reward", reward},
              {"reward_std", reward_std},
              {"frac_reward_zero_std", frac_reward_zero_std},
              {"unscored_rows", static_cast<double>(unscored)}};
  for (size_t k = 0; k < reward_names.size(); ++k) {
    out.push_back({"rewards/" + reward_names[k] + "/mean", part_means[k]});
    out.push_back({"rewards/" + reward_names[k] + "/std", part_stds[k]});
  }
  return out;
}

}  // namespace candor::algorithms
