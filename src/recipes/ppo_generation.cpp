#include "recipes/ppo_generation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "recipes/micro_batches.h"

namespace candor::recipes {

namespace {

std::vector<int64_t> every_group(const Rollouts& rollouts) {
  std::vector<int64_t> all(static_cast<size_t>(rollouts.groups));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

engine::ValueGroup value_group(const PpoGeneration& generation, int64_t g) {
  const Rollouts& r = generation.rollouts;
  engine::RolloutGroup group = r.group(g);
  engine::ValueGroup states{group.prompt, std::move(group.completions), {}};
  for (int64_t i = g * r.group_size; i < (g + 1) * r.group_size; ++i) {
    states.states.emplace_back(generation.value_offsets[i + 1] - generation.value_offsets[i]);
    std::iota(states.states.back().begin(), states.states.back().end(), 0);
  }
  return states;
}

// The reward of every completion. Error: nobody has scored one.
Result<algorithms::GroupAdvantages> scores_of(const std::vector<double>& parts, const PpoConfig& config) {
  const auto rows = static_cast<size_t>(config.rows_of_a_generation());
  algorithms::GroupAdvantages scores =
      TRY(algorithms::reward_statistics(parts, config.reward_funcs.size(), rows, config.reward_weights));
  for (size_t i = 0; i < rows; ++i)
    if (std::isnan(scores.rewards[i]))
      return error(
          "[ppo] completion {} of {}: every reward abstained, and PPO needs a score for each. Add a reward that always "
          "has an opinion, or drop the row.",
          i + 1, rows);
  return scores;
}

}  // namespace

engine::SamplingOptions ppo_sampling_options(const PpoConfig& config, const files::ModelConfig& model, int64_t step) {
  engine::SamplingOptions options = sampling_options(config, model, step);
  if (config.stop_token_id)
    options.stop_ids = {static_cast<int32_t>(*config.stop_token_id)};
  else if (config.stop_token == "none")
    options.stop_ids.clear();
  return options;
}

std::vector<int64_t> value_offsets(const Rollouts& rollouts, int64_t max_completion_length) {
  std::vector<int64_t> offsets = {0};
  for (const int64_t length : rollouts.lengths)
    offsets.push_back(offsets.back() + std::min(length + 1, max_completion_length));
  return offsets;
}

std::vector<float> values_of(engine::PolicyPass& pass, const engine::Role& critic, const PpoGeneration& generation,
                             std::span<const int64_t> groups) {
  std::vector<engine::ValueGroup> batch;
  for (const int64_t g : groups) batch.push_back(value_group(generation, g));
  return pass.values(critic.adapter_or_null(), *critic.head, batch);
}

std::vector<std::vector<int64_t>> value_batches(const PpoGeneration& generation, std::span<const int64_t> groups,
                                                int64_t budget) {
  const Rollouts& r = generation.rollouts;
  const auto tokens = [&](size_t at) {
    const int64_t g = groups[at], first = g * r.group_size;
    // Of n states the first is the prompt's.
    return static_cast<int64_t>(r.prompts[g].size()) + generation.value_offsets[first + r.group_size] -
           generation.value_offsets[first] - r.group_size;
  };
  std::vector<std::vector<int64_t>> batches;
  for (const auto& [begin, end] : batches_within(groups.size(), budget, tokens))
    batches.emplace_back(groups.begin() + static_cast<std::ptrdiff_t>(begin),
                         groups.begin() + static_cast<std::ptrdiff_t>(end));
  return batches;
}

std::vector<double> all_values(engine::PolicyPass& pass, const engine::Role& critic, const PpoGeneration& generation,
                               const PpoConfig& config) {
  std::vector<double> all;
  for (const auto& batch : value_batches(generation, every_group(generation.rollouts), micro_batch_tokens(config))) {
    const std::vector<float> values = values_of(pass, critic, generation, batch);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

Result<std::optional<PpoGeneration>> next_ppo_generation(const engine::Context& context, const RolloutParts& parts,
                                                         const PpoConfig& config, const engine::Adapter& adapter,
                                                         const engine::Role& critic, PpoPasses& passes,
                                                         data::PromptStream& prompts, int64_t step) {
  const data::PromptStream before = prompts;
  const std::vector<int64_t> chosen = data::next_prompts(prompts, config.groups_per_generation());
  auto sampled = sample_rollouts(context, parts, adapter, chosen,
                                 {ppo_sampling_options(config, parts.model.config, step), config.num_generations});
  if (!sampled) {
    prompts = before;
    return std::optional<PpoGeneration>();
  }
  PpoGeneration generation;
  generation.rollouts = std::move(*sampled);
  auto scores = score_rollouts(parts, generation.rollouts);
  if (!scores) {
    prompts = before;
    return scores.error();
  }
  generation.parts = std::move(*scores);
  if (const auto scored = scores_of(generation.parts, config); !scored) {
    prompts = before;
    return scored.error();
  }
  if (auto gold = measure_gold(config, parts, step + 1, config.steps_of_a_generation(), generation.rollouts); !gold) {
    prompts = before;
    return gold.error();
  }
  generation.value_offsets = value_offsets(generation.rollouts, config.max_completion_length);
  if (config.values_ahead()) generation.old_values = all_values(passes.old_values(), critic, generation, config);
  return std::optional(std::move(generation));
}

void estimate(PpoGeneration& generation, const PpoConfig& config) {
  algorithms::PpoAdvantages estimated =
      algorithms::gae(generation.rows(), generation.shaped.rewards, generation.old_values, config.gamma, config.lam);
  generation.advantages = algorithms::whitened(estimated.advantages);
  generation.returns = std::move(estimated.returns);
}

Result<void> derive(PpoGeneration& generation, const PpoConfig& config, engine::PolicyPass& base) {
  const Rollouts& rollouts = generation.rollouts;
  generation.value_offsets = value_offsets(rollouts, config.max_completion_length);
  generation.reference = reference_logprobs(base, rollouts, config.temperature, micro_batch_tokens(config));
  generation.rewards = TRY(scores_of(generation.parts, config));
  generation.shaped = algorithms::ppo_rewards(
      generation.rows(), rollouts.logprobs, generation.reference, generation.rewards.rewards, rollouts.finished,
      {generation.kl_coef, config.kl_estimator == "k3", config.missing_eos_penalty.value_or(0)});
  if (config.whiten_rewards) generation.shaped.rewards = algorithms::whitened(generation.shaped.rewards, true);
  if (!generation.old_values.empty()) estimate(generation, config);
  return {};
}

std::vector<int64_t> mini_batch(const PpoGeneration& generation, const PpoConfig& config) {
  std::vector<int64_t> order = every_group(generation.rollouts);
  const int64_t epoch = generation.uses / config.num_mini_batches, at = generation.uses % config.num_mini_batches;
  if (config.num_mini_batches > 1)  // row 0 of a step's draws orders an epoch of prompts
    order = data::permutation(generation.rollouts.groups,
                              {static_cast<uint64_t>(config.seed), RngStream::kShuffling,
                               static_cast<uint32_t>(generation.number), static_cast<uint32_t>(epoch + 1)});
  const auto begin = order.begin() + at * config.groups_per_step();
  return {begin, begin + config.groups_per_step()};
}

files::Json generation_json(const PpoGeneration& generation) {
  files::Json json = rollouts_json(generation.rollouts);
  json["rewards"] = generation.parts;
  json["old_values"] = generation.old_values;
  json["kl_coef"] = generation.kl_coef;
  json["number"] = generation.number;
  json["uses"] = generation.uses;
  return json;
}

Result<PpoGeneration> ppo_generation_from_json(const files::Json& json, const data::PromptSet& prompts,
                                               const PpoConfig& config) {
  PpoGeneration generation;
  generation.rollouts = TRY(rollouts_from_json(json, prompts, config.groups_per_generation(), config.num_generations));
  generation.value_offsets = value_offsets(generation.rollouts, config.max_completion_length);
  const size_t parts = generation.rollouts.lengths.size() * config.reward_funcs.size();
  const auto values = static_cast<size_t>(generation.value_offsets.back());
  if (json.at("rewards").size() != parts || json.at("old_values").size() != values)
    return error("the generation has {} rewards and {} values, the recipe {} and {}.", json.at("rewards").size(),
                 json.at("old_values").size(), parts, values);
  for (const files::Json& reward : json.at("rewards")) generation.parts.push_back(number_of(reward));
  for (const files::Json& value : json.at("old_values")) generation.old_values.push_back(number_of(value));
  generation.kl_coef = json.at("kl_coef").get<double>();
  generation.number = json.at("number").get<int64_t>();
  generation.uses = json.at("uses").get<int64_t>();
  return generation;
}

}  // namespace candor::recipes
