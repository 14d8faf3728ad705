#include "algorithms/rloo.h"

#include <algorithm>
#include <cmath>

#include "algorithms/ppo.h"
#include "base/check.h"

namespace candor::algorithms {

namespace {

struct Total {
  double sum = 0;
  int64_t count = 0;
};

Total scored(std::span<const double> values) {
  Total total;
  for (double value : values) {
    if (std::isnan(value)) continue;
    total.sum += value;
    ++total.count;
  }
  return total;
}

// (A - mean) / (std + 1e-4) over the rows that were scored.
void normalize(std::span<double> advantages, std::span<const double> rewards) {
  std::vector<double> of_scored;
  for (size_t i = 0; i < rewards.size(); ++i)
    if (!std::isnan(rewards[i])) of_scored.push_back(advantages[i]);
  const auto [low, high] = std::minmax_element(of_scored.begin(), of_scored.end());
  if (of_scored.size() < 2) return;
  if (*low == *high) {
    std::fill(advantages.begin(), advantages.end(), 0.0);
    return;
  }
  const double n = static_cast<double>(of_scored.size()), mean = scored(of_scored).sum / n;
  double squares = 0;
  for (double advantage : of_scored) squares += (advantage - mean) * (advantage - mean);
  const double scale = std::sqrt(squares / (n - 1.0)) + 1e-4;
  for (size_t i = 0; i < rewards.size(); ++i)
    if (!std::isnan(rewards[i])) advantages[i] = (advantages[i] - mean) / scale;
}

// Whitens the counted tokens of the rows that were scored, and leaves 0 everywhere else.
void whiten_scored(const RaggedRows& rows, std::span<const double> rewards, std::vector<double>& advantages) {
  std::vector<size_t> places;
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t t = rows.begin(i); t < rows.end(i); ++t)
      if (rows.counts(t) && !std::isnan(rewards[i])) places.push_back(t);
  std::vector<double> values;
  for (size_t t : places) values.push_back(advantages[t]);
  values = whitened(values);
  std::fill(advantages.begin(), advantages.end(), 0.0);
  for (size_t k = 0; k < places.size(); ++k) advantages[places[k]] = values[k];
}

}  // namespace

std::vector<double> rloo_advantages(std::span<const double> rewards, size_t group_size, const RlooOptions& o,
                                    std::span<const double> penalties) {
  CHECK(group_size > 0 && rewards.size() % group_size == 0);
  CHECK(penalties.empty() || penalties.size() == rewards.size());
  std::vector<double> r(rewards.begin(), rewards.end());
  for (size_t i = 0; i < r.size(); ++i) {
    if (std::isnan(r[i])) continue;
    if (o.reward_clip_range) r[i] = std::clamp(r[i], o.reward_clip_range->first, o.reward_clip_range->second);
    if (!penalties.empty()) r[i] -= penalties[i];
  }
  std::vector<double> advantages(r.size(), 0.0);
  for (size_t first = 0; first < r.size(); first += group_size) {
    const Total group = scored(std::span<const double>(r).subspan(first, group_size));
    if (group.count < 2) continue;
    for (size_t i = first; i < first + group_size; ++i)
      if (!std::isnan(r[i])) advantages[i] = r[i] - (group.sum - r[i]) / static_cast<double>(group.count - 1);
  }
  if (o.normalize_advantages) normalize(advantages, r);
  return advantages;
}

std::vector<double> kl_to_go(const RaggedRows& rows, std::span<const double> old_logprobs,
                             std::span<const double> reference_logprobs) {
  CHECK(old_logprobs.size() == rows.tokens() && reference_logprobs.size() == rows.tokens());
  std::vector<double> kl(rows.tokens(), 0.0);
  for (size_t i = 0; i < rows.size(); ++i) {
    double sum = 0;
    for (size_t t = rows.end(i); t-- > rows.begin(i);)
      if (rows.counts(t)) kl[t] = sum += old_logprobs[t] - reference_logprobs[t];
  }
  return kl;
}

std::vector<double> reinforce_pp_advantages(const RaggedRows& rows, std::span<const double> rewards,
                                            std::span<const double> old_logprobs,
                                            std::span<const double> reference_logprobs, double beta) {
  CHECK(rewards.size() == rows.size());
  std::vector<double> kl(rows.tokens(), 0.0);
  if (!reference_logprobs.empty()) kl = kl_to_go(rows, old_logprobs, reference_logprobs);
  std::vector<double> advantages(rows.tokens(), 0.0);
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t t = rows.begin(i); t < rows.end(i); ++t)
      if (rows.counts(t)) advantages[t] = rewards[i] - beta * kl[t];
  whiten_scored(rows, rewards, advantages);
  return advantages;
}

std::vector<double> reinforce_pp_baseline_advantages(const RaggedRows& rows, std::span<const double> rewards,
                                                     size_t group_size) {
  CHECK(rewards.size() == rows.size() && group_size > 0 && rewards.size() % group_size == 0);
  std::vector<double> advantages(rows.tokens(), 0.0);
  for (size_t first = 0; first < rewards.size(); first += group_size) {
    const Total group = scored(rewards.subspan(first, group_size));
    const double mean = group.sum / static_cast<double>(std::max<int64_t>(group.count, 1));
    for (size_t i = first; i < first + group_size; ++i)
      for (size_t t = rows.begin(i); t < rows.end(i); ++t) advantages[t] = rewards[i] - mean;
  }
  whiten_scored(rows, rewards, advantages);
  return advantages;
}

std::vector<double> remax_advantages(std::span<const double> rewards, std::span<const double> greedy_rewards,
                                     size_t group_size) {
  CHECK(group_size > 0 && greedy_rewards.size() * group_size == rewards.size());
  std::vector<double> advantages(rewards.size(), 0.0);
  for (size_t i = 0; i < rewards.size(); ++i) {
    const double advantage = rewards[i] - greedy_rewards[i / group_size];
    if (!std::isnan(advantage)) advantages[i] = advantage;
  }
  return advantages;
}

std::vector<double> remax_advantages_with_kl(const RaggedRows& rows, std::span<const double> rewards,
                                             std::span<const double> greedy_rewards, size_t group_size,
                                             std::span<const double> old_logprobs,
                                             std::span<const double> reference_logprobs, double beta) {
  CHECK(rewards.size() == rows.size());
  const std::vector<double> of_rows = remax_advantages(rewards, greedy_rewards, group_size);
  std::vector<double> advantages = kl_to_go(rows, old_logprobs, reference_logprobs);
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool scored = !std::isnan(rewards[i] - greedy_rewards[i / group_size]);
    for (size_t t = rows.begin(i); t < rows.end(i); ++t)
      advantages[t] = scored && rows.counts(t) ? of_rows[i] - beta * advantages[t] : 0.0;
  }
  return advantages;
}

}  // namespace candor::algorithms
