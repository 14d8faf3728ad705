#include "recipes/generation.h"

#include <cmath>

#include "recipes/advantages.h"
#include "recipes/grpo_options.h"

namespace candor::recipes {

namespace {

struct Scored {
  Rollouts rollouts;
  std::vector<double> parts;  // [N,K]

  void append(const Scored& from, int64_t g) {
    const auto stride = static_cast<std::ptrdiff_t>(from.parts.size()) / from.rollouts.groups;
    rollouts.append(from.rollouts, g);
    parts.insert(parts.end(), from.parts.begin() + g * stride, from.parts.begin() + (g + 1) * stride);
  }
};

// The sum and number of the weighted rewards of all completions.
struct RewardSum {
  double sum = 0;
  int64_t scored = 0;

  void add(std::span<const double> parts, const GrpoConfig& config) {
    const size_t kinds = config.reward_funcs.size();
    for (size_t first = 0; first < parts.size(); first += kinds) {
      double reward = 0;
      bool any = false;
      for (size_t k = 0; k < kinds; ++k) {
        if (std::isnan(parts[first + k])) continue;
        reward += config.weight_of_reward(k) * parts[first + k];
        any = true;
      }
      if (any) sum += reward;
      scored += any;
    }
  }
};

// ReMax: the reward of each prompt's greedy completion. False if it was interrupted.
Result<bool> add_greedy_baseline(const engine::Context& context, const RolloutParts& parts, const GrpoConfig& config,
                                 const engine::Adapter& adapter, int64_t step, Generation& generation) {
  Sampling greedy{sampling_options(config, parts.model.config, step)};
  greedy.options.temperature = 0;
  const auto sampled = sample_rollouts(context, parts, adapter, generation.rollouts.prompt_numbers, greedy);
  if (!sampled) return false;
  generation.tokens += sampled->tokens();
  if (parts.doing) parts.doing("scoring");
  const std::vector<double> scores = TRY(rewards::score_all(parts.rewards, sampled->for_rewards(parts.prompts)));
  const algorithms::GroupAdvantages statistics =
      TRY(algorithms::reward_statistics(scores, config.reward_funcs.size(), 1, config.reward_weights));
  generation.greedy_rewards = statistics.rewards;
  return true;
}

}  // namespace

Result<std::optional<Generation>> next_generation(const engine::Context& context, const RolloutParts& parts,
                                                  const GrpoConfig& config, const engine::Adapter& adapter,
                                                  data::PromptStream& prompts, int64_t step) {
  const data::PromptStream before = prompts;
  Sampling how{sampling_options(config, parts.model.config, step), config.num_generations, config.compares_pairs(),
               config.samples_another()};
  if (config.recipe == GroupRecipe::kNashMd) how.reference_share = config.mixture_coef;
  const int64_t wanted = config.groups_per_generation();
  Generation generation;
  Scored kept, flat;  // flat: groups without spread, in case too few of the others come
  RewardSum sum;
  int64_t sampled_groups = 0;
  const int64_t most_rounds = config.dynamic_sampling ? config.dynamic_sampling_max_rounds : 1;
  for (generation.rounds = 0; generation.rounds < most_rounds && kept.rollouts.groups < wanted; ++generation.rounds) {
    const auto chosen = data::next_prompts(prompts, wanted - kept.rollouts.groups);
    auto sampled = sample_rollouts(context, parts, adapter, chosen, how, sampled_groups * config.num_generations);
    if (!sampled) {
      prompts = before;
      return std::optional<Generation>();
    }
    sampled_groups += sampled->groups;
    generation.tokens += sampled->tokens();
    Scored round{std::move(*sampled), {}};
    auto scores = score_rollouts(parts, round.rollouts);
    if (!scores) {
      prompts = before;
      return scores.error();
    }
    round.parts = std::move(*scores);
    sum.add(round.parts, config);
    if (!config.dynamic_sampling) {
      kept = std::move(round);
      continue;
    }
    const auto spread =
        algorithms::groups_with_spread(round.parts, config.reward_funcs.size(),
                                       static_cast<size_t>(config.num_generations), advantage_options(config));
    for (int64_t g = 0; g < round.rollouts.groups; ++g) (spread[g] ? kept : flat).append(round, g);
  }
  for (int64_t g = 0; kept.rollouts.groups < wanted; ++g) kept.append(flat, g);
  generation.rollouts = std::move(kept.rollouts);
  generation.parts = std::move(kept.parts);
  generation.replaced_groups = sampled_groups - wanted;
  generation.reward_of_all = sum.scored > 0 ? sum.sum / static_cast<double>(sum.scored) : std::nan("");
  if (config.has_greedy_baseline()) {
    auto greedy = add_greedy_baseline(context, parts, config, adapter, step, generation);
    if (!greedy || !*greedy) prompts = before;
    if (!greedy) return greedy.error();
    if (!*greedy) return std::optional<Generation>();
  }
  if (auto gold = measure_gold(config, parts, step + 1, config.steps_of_a_generation(), generation.rollouts); !gold) {
    prompts = before;
    return gold.error();
  }
  return std::optional(std::move(generation));
}

Result<void> derive(Generation& generation, const GrpoConfig& config, engine::PolicyPass& base) {
  const Rollouts& rollouts = generation.rollouts;
  if (config.needs_reference())
    generation.reference = reference_logprobs(base, rollouts, config.policy_temperature(), micro_batch_tokens(config));
  if (config.mask_truncated_completions)
    for (size_t i = 0; i < rollouts.finished.size(); ++i)
      generation.mask.insert(generation.mask.end(), static_cast<size_t>(rollouts.lengths[i]), rollouts.finished[i]);
  Advantages estimated = TRY(estimate_advantages(
      config, {rollouts, generation.rows(), generation.parts, generation.reference, generation.greedy_rewards}));
  generation.advantages = std::move(estimated.rows);
  generation.token_advantages = std::move(estimated.tokens);
  return {};
}

files::Json generation_json(const Generation& generation) {
  files::Json json = rollouts_json(generation.rollouts);
  json["rewards"] = generation.parts;
  json["uses"] = generation.uses;
  json["rounds"] = generation.rounds;
  json["replaced_groups"] = generation.replaced_groups;
  json["tokens"] = generation.tokens;
  json["reward_of_all"] = generation.reward_of_all;
  json["greedy_rewards"] = generation.greedy_rewards;
  return json;
}

Result<Generation> generation_from_json(const files::Json& json, const data::PromptSet& prompts,
                                        const GrpoConfig& config) {
  Generation generation;
  generation.rollouts = TRY(rollouts_from_json(json, prompts, config.groups_per_generation(), config.num_generations));
  const size_t numbers = generation.rollouts.lengths.size() * config.reward_funcs.size();
  if (json.at("rewards").size() != numbers)
    return error("the generation has {} rewards, the recipe {}.", json.at("rewards").size(), numbers);
  for (const files::Json& reward : json.at("rewards")) generation.parts.push_back(number_of(reward));
  for (const files::Json& reward : json.at("greedy_rewards")) generation.greedy_rewards.push_back(number_of(reward));
  const size_t greedy = config.has_greedy_baseline() ? generation.rollouts.prompts.size() : 0;
  if (generation.greedy_rewards.size() != greedy)
    return error("the generation has {} prompts and {} rewards of greedy completions.",
                 generation.rollouts.prompts.size(), generation.greedy_rewards.size());
  generation.uses = json.at("uses").get<int64_t>();
  generation.rounds = json.at("rounds").get<int64_t>();
  generation.replaced_groups = json.at("replaced_groups").get<int64_t>();
  generation.tokens = json.at("tokens").get<int64_t>();
  generation.reward_of_all = number_of(json.at("reward_of_all"));
  return generation;
}

}  // namespace candor::recipes
