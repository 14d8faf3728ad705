#include "recipes/generation.h"

#include <cmath>
#include <numeric>

#include "recipes/advantages.h"
#include "recipes/grpo_options.h"

namespace candor::recipes {

namespace {

// Log-probabilities of every completion token under the base model, the adapter off, at the sampling temperature.
std::vector<double> reference_logprobs(engine::PolicyPass& pass, const Rollouts& rollouts, double temperature,
                                       int64_t budget) {
  std::vector<int64_t> all(static_cast<size_t>(rollouts.groups));
  std::iota(all.begin(), all.end(), 0);
  std::vector<double> logprobs;
  for (const std::vector<int64_t>& batch : micro_batches(all, rollouts, budget)) {
    const auto& out = pass.forward(nullptr, groups_of(rollouts, batch), temperature);
    logprobs.insert(logprobs.end(), out.logprobs.begin(), out.logprobs.end());
  }
  return logprobs;
}

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
Result<bool> add_greedy_baseline(const engine::Context& context, const GrpoParts& parts, const GrpoConfig& config,
                                 const engine::Adapter& adapter, int64_t step, Generation& generation) {
  GrpoConfig greedy = config;
  greedy.temperature = 0;
  greedy.num_generations = 1;
  const auto sampled = sample_rollouts(context, parts, greedy, adapter, generation.rollouts.prompt_numbers, step);
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

Result<std::optional<Generation>> next_generation(const engine::Context& context, const GrpoParts& parts,
                                                  const GrpoConfig& config, const engine::Adapter& adapter,
                                                  data::PromptStream& prompts, int64_t step) {
  const data::PromptStream before = prompts;
  const int64_t wanted = config.groups_per_generation();
  Generation generation;
  Scored kept, flat;  // flat: groups without spread, in case too few of the others come
  RewardSum sum;
  int64_t sampled_groups = 0;
  const int64_t most_rounds = config.dynamic_sampling ? config.dynamic_sampling_max_rounds : 1;
  for (generation.rounds = 0; generation.rounds < most_rounds && kept.rollouts.groups < wanted; ++generation.rounds) {
    const auto chosen = data::next_prompts(prompts, wanted - kept.rollouts.groups);
    auto sampled =
        sample_rollouts(context, parts, config, adapter, chosen, step, sampled_groups * config.num_generations);
    if (!sampled) {
      prompts = before;
      return std::optional<Generation>();
    }
    sampled_groups += sampled->groups;
    generation.tokens += sampled->tokens();
    Scored round{std::move(*sampled), {}};
    if (parts.doing) parts.doing("scoring");
    auto scores = rewards::score_all(parts.rewards, round.rollouts.for_rewards(parts.prompts));
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
  const Rollouts& r = generation.rollouts;
  files::Json completions = files::Json::array();
  for (size_t i = 0; i < r.completions.size(); ++i) {
    const auto begin = r.offsets[i], end = r.offsets[i + 1];
    completions.push_back({{"ids", r.completions[i].ids},
                           {"finished", r.finished[i] != 0},
                           {"logprobs", std::vector<double>(r.logprobs.begin() + begin, r.logprobs.begin() + end)},
                           {"entropies", std::vector<double>(r.entropies.begin() + begin, r.entropies.begin() + end)}});
  }
  return {{"prompts", r.prompt_numbers},
          {"completions", std::move(completions)},
          {"rewards", generation.parts},
          {"uses", generation.uses},
          {"rounds", generation.rounds},
          {"replaced_groups", generation.replaced_groups},
          {"tokens", generation.tokens},
          {"reward_of_all", generation.reward_of_all},
          {"greedy_rewards", generation.greedy_rewards}};
}

Result<Generation> generation_from_json(const files::Json& json, const data::PromptSet& prompts,
                                        const GrpoConfig& config) {
  const auto number = [](const files::Json& value) { return value.is_null() ? std::nan("") : value.get<double>(); };
  Generation generation;
  Rollouts& r = generation.rollouts;
  r.group_size = config.num_generations;
  r.groups = config.groups_per_generation();
  r.offsets = {0};
  const auto rows = static_cast<size_t>(r.groups * r.group_size);
  r.prompt_numbers = json.at("prompts").get<std::vector<int64_t>>();
  if (static_cast<int64_t>(r.prompt_numbers.size()) != r.groups || json.at("completions").size() != rows ||
      json.at("rewards").size() != rows * config.reward_funcs.size())
    return error("the generation has {} prompts and {} completions, the recipe {} and {}.", r.prompt_numbers.size(),
                 json.at("completions").size(), r.groups, rows);
  for (int64_t prompt : r.prompt_numbers) {
    if (prompt < 0 || prompt >= static_cast<int64_t>(prompts.prompts.size()))
      return error("the generation names prompt {} of {}.", prompt, prompts.prompts.size());
    r.prompts.push_back(prompts.prompts[prompt].ids);
  }
  for (const files::Json& completion : json.at("completions")) {
    r.completions.emplace_back();
    r.completions.back().ids = completion.at("ids").get<std::vector<int32_t>>();
    r.completions.back().finished = completion.at("finished").get<bool>();
    r.finished.push_back(r.completions.back().finished);
    r.lengths.push_back(static_cast<int64_t>(r.completions.back().ids.size()));
    r.offsets.push_back(r.offsets.back() + r.lengths.back());
    for (const auto& [key, to] : {std::pair("logprobs", &r.logprobs), std::pair("entropies", &r.entropies)}) {
      if (completion.at(key).size() != r.completions.back().ids.size())
        return error("a completion of {} tokens has {} {}.", r.lengths.back(), completion.at(key).size(), key);
      for (const files::Json& value : completion.at(key)) to->push_back(number(value));
    }
  }
  for (const files::Json& reward : json.at("rewards")) generation.parts.push_back(number(reward));
  for (const files::Json& reward : json.at("greedy_rewards")) generation.greedy_rewards.push_back(number(reward));
  if (generation.greedy_rewards.size() != (config.has_greedy_baseline() ? r.prompt_numbers.size() : 0))
    return error("the generation has {} prompts and {} rewards of greedy completions.", r.prompt_numbers.size(),
                 generation.greedy_rewards.size());
  generation.uses = json.at("uses").get<int64_t>();
  generation.rounds = json.at("rounds").get<int64_t>();
  generation.replaced_groups = json.at("replaced_groups").get<int64_t>();
  generation.tokens = json.at("tokens").get<int64_t>();
  generation.reward_of_all = number(json.at("reward_of_all"));
  return generation;
}

}  // namespace candor::recipes
