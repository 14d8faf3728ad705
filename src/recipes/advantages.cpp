#include "recipes/advantages.h"

#include <algorithm>
#include <cmath>

#include "algorithms/kl.h"
#include "algorithms/logistic.h"
#include "algorithms/online_preference.h"
#include "algorithms/rloo.h"
#include "recipes/grpo_options.h"

namespace candor::recipes {

namespace {

// β times each row's KL of the policy that sampled; empty where the reward holds none.
std::vector<double> penalties_of(const GrpoConfig& config, const AdvantageInputs& in) {
  if (config.beta == 0 || config.kl_placement != "reward") return {};
  std::vector<double> penalties = algorithms::row_kl_k1({in.rollouts.offsets, {}}, in.rollouts.logprobs, in.reference);
  for (double& penalty : penalties) penalty *= config.beta;
  return penalties;
}

algorithms::RlooOptions rloo_options(const GrpoConfig& config) {
  algorithms::RlooOptions options;
  if (!config.reward_clip_range.empty())
    options.reward_clip_range = {config.reward_clip_range[0], config.reward_clip_range[1]};
  options.normalize_advantages = config.normalize_advantages;
  return options;
}

// The mean over each row's counted tokens, for the log.
std::vector<double> row_means(const algorithms::RaggedRows& rows, const std::vector<double>& tokens) {
  std::vector<double> means(rows.size(), 0.0);
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t t = rows.begin(i); t < rows.end(i); ++t)
      if (rows.counts(t)) means[i] += tokens[t];
    means[i] /= static_cast<double>(std::max<int64_t>(rows.counted(i), 1));
  }
  return means;
}

std::vector<double> signs_of_pairs(const GrpoConfig& config, const AdvantageInputs& in,
                                   const std::vector<double>& rewards) {
  const std::vector<uint8_t> first =
      algorithms::first_is_chosen(rewards, in.rollouts.finished, config.missing_eos_penalty.value_or(0.0));
  std::vector<double> signs(rewards.size(), 0.0);
  for (size_t pair = 0; pair < first.size(); ++pair) {
    if (std::isnan(rewards[2 * pair]) || std::isnan(rewards[2 * pair + 1])) continue;
    if (config.recipe == GroupRecipe::kNashMd) {
      const auto score = [&](size_t row) {
        return rewards[row] - (in.rollouts.finished[row] ? 0.0 : config.missing_eos_penalty.value_or(0.0));
      };
      signs[2 * pair] = algorithms::sigmoid(score(2 * pair) - score(2 * pair + 1)) - 0.5;
    } else {
      signs[2 * pair] = first[pair] ? 1 : -1;
    }
    signs[2 * pair + 1] = -signs[2 * pair];
  }
  return signs;
}

}  // namespace

Result<Advantages> estimate_advantages(const GrpoConfig& config, const AdvantageInputs& in) {
  const size_t reward_count = config.reward_funcs.size(), group_size = static_cast<size_t>(config.num_generations);
  const std::string& name = config.advantage_estimator;
  Advantages out;
  if (name == "group" && !config.compares_pairs()) {
    out.rows = TRY(algorithms::group_advantages(in.parts, reward_count, group_size, advantage_options(config),
                                                penalties_of(config, in)));
    return out;
  }
  out.rows = TRY(algorithms::reward_statistics(in.parts, reward_count, group_size, config.reward_weights));
  const std::vector<double>& rewards = out.rows.rewards;
  const bool kl_in_reward = config.beta != 0 && config.kl_placement == "reward";
  const std::span<const double> logprobs = in.rollouts.logprobs;
  if (config.compares_pairs()) {
    out.rows.advantages = signs_of_pairs(config, in, rewards);
  } else if (name == "rloo") {
    out.rows.advantages =
        algorithms::rloo_advantages(rewards, group_size, rloo_options(config), penalties_of(config, in));
  } else if (name == "reinforce_plus_plus") {
    out.tokens = algorithms::reinforce_pp_advantages(
        in.rows, rewards, logprobs, kl_in_reward ? in.reference : std::span<const double>(), config.beta);
  } else if (name == "reinforce_plus_plus_baseline") {
    out.tokens = algorithms::reinforce_pp_baseline_advantages(in.rows, rewards, group_size);
  } else if (kl_in_reward) {
    out.tokens = algorithms::remax_advantages_with_kl(in.rows, rewards, in.greedy_rewards, group_size, logprobs,
                                                      in.reference, config.beta);
  } else {
    out.rows.advantages = algorithms::remax_advantages(rewards, in.greedy_rewards, group_size);
  }
  if (!out.tokens.empty()) out.rows.advantages = row_means(in.rows, out.tokens);
  return out;
}

}  // namespace candor::recipes
