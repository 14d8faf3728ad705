#include "rewards/rewards.h"

#include <cmath>
#include <limits>
#include <utility>

#include "base/nearest_name.h"
#include "rewards/arithmetic_rewards.h"
#include "rewards/length_penalty.h"
#include "rewards/rules.h"

namespace candor::rewards {

const std::vector<std::string>& reward_names() {
  static const std::vector<std::string> names = {
      "accuracy",     "concise_accuracy", "reasoned_accuracy", "arithmetic_steps", "format",
      "think_format", "length",           "overlong",          "repetition",       "cosine_scaled"};
  return names;
}

Result<Reward> make_reward(std::string_view name, const RewardParams& params) {
  if (name == "accuracy") return accuracy_reward(params);
  if (name == "concise_accuracy") return concise_accuracy_reward(params);
  if (name == "reasoned_accuracy") return reasoned_accuracy_reward(params);
  if (name == "arithmetic_steps") return arithmetic_steps_reward();
  if (name == "format") return format_reward(params);
  if (name == "think_format") return think_format_reward(params);
  if (name == "cosine_scaled") return cosine_scaled_reward(params);
  if (name == "length") return length_reward(params);
  if (name == "overlong") return overlong_reward(params);
  if (name == "repetition") return repetition_reward(params);
  return error("[rewards] unknown reward \"{}\". Expected one of {}.{}", name, fmt::join(reward_names(), ", "),
               did_you_mean(name, reward_names()));
}

Result<void> check_rows(std::span<const Reward> rewards, const data::Rows& rows) {
  for (const data::Row& row : rows.rows) {
    for (const Reward& reward : rewards) {
      if (!reward.check_row) continue;
      if (const auto checked = reward.check_row(row.columns); !checked) {
        return error("[{}] {}: {}", reward.name, data::place(rows.name, row), checked.error().message);
      }
    }
  }
  return {};
}

std::vector<double> total_scores(std::span<const double> scores, size_t rewards) {
  std::vector<double> totals;
  for (size_t first = 0; first < scores.size(); first += rewards) {
    double sum = 0, scored = 0;
    for (const double score : scores.subspan(first, rewards)) {
      if (std::isnan(score)) continue;
      sum += score;
      ++scored;
    }
    totals.push_back(scored > 0 ? sum : std::numeric_limits<double>::quiet_NaN());
  }
  return totals;
}

Result<std::vector<double>> score_all(std::span<const Reward> rewards, std::span<const Completion> completions) {
  const size_t count = rewards.size();
  std::vector<double> parts(completions.size() * count, std::numeric_limits<double>::quiet_NaN());
  for (size_t k = 0; k < count; ++k) {
    auto scores = rewards[k].score(completions);
    if (!scores) return error("[{}] {}", rewards[k].name, scores.error().message);
    if (scores->size() != completions.size()) {
      return error("[{}] expected {} scores, one for each completion, got {}.", rewards[k].name, completions.size(),
                   scores->size());
    }
    for (size_t i = 0; i < scores->size(); ++i) {
      const std::optional<double>& score = (*scores)[i];
      if (!score) continue;
      if (!std::isfinite(*score)) {
        return error(
            "[{}] completion {} of {} got the score {}. Expected a finite number; a reward without an opinion "
            "abstains.",
            rewards[k].name, i + 1, completions.size(), *score);
      }
      parts[i * count + k] = *score;
    }
  }
  return parts;
}

}  // namespace candor::rewards
