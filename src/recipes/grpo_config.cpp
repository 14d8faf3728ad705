#include "recipes/grpo_config.h"

#include <algorithm>

namespace candor::recipes {
namespace {

bool uses_reward(const GrpoConfig& config, std::string_view name) {
  return std::find(config.reward_funcs.begin(), config.reward_funcs.end(), name) != config.reward_funcs.end();
}

Result<void> check_batch(GrpoConfig& c, const Given& given) {
  const int64_t rows = c.per_device_train_batch_size * c.gradient_accumulation_steps;
  if (rows % c.num_generations != 0)
    return error(
        "[grpo] per_device_train_batch_size {} x gradient_accumulation_steps {} = {} completions per step, which "
        "num_generations {} does not divide: a step takes whole groups. Change one of the three.",
        c.per_device_train_batch_size, c.gradient_accumulation_steps, rows, c.num_generations);
  const int64_t groups = c.groups_per_step();
  if (!given.has("gradient_shards")) c.gradient_shards = std::min(c.gradient_shards, groups);
  if (c.gradient_shards > groups)
    return error(
        "[grpo] gradient_shards {} is more than the {} group{} of a step, and a shard holds whole groups. Lower "
        "gradient_shards or raise per_device_train_batch_size.",
        c.gradient_shards, groups, groups == 1 ? "" : "s");
  return {};
}

// How many optimizer steps a generation serves.
Result<void> check_generation(GrpoConfig& c) {
  const int64_t batch = c.per_device_train_batch_size, accumulation = c.gradient_accumulation_steps;
  if (c.generation_batch_size && c.steps_per_generation)
    return error("[grpo] generation_batch_size {} and steps_per_generation {} are both given. Remove one.",
                 *c.generation_batch_size, *c.steps_per_generation);
  if (c.generation_batch_size) {
    if (*c.generation_batch_size % batch != 0)
      return error("[grpo] generation_batch_size {} is not a multiple of per_device_train_batch_size {}.",
                   *c.generation_batch_size, batch);
    c.steps_per_generation = *c.generation_batch_size / batch;
    c.generation_batch_size.reset();
  }
  if (c.steps_per_generation && *c.steps_per_generation % accumulation != 0)
    return error(
        "[grpo] steps_per_generation {} is not a multiple of gradient_accumulation_steps {}: an optimizer step takes "
        "its batches from one generation. Raise steps_per_generation (or generation_batch_size).",
        *c.steps_per_generation, accumulation);
  return {};
}

Result<void> check_loss(const GrpoConfig& c) {
  if (c.entropy_coef_min > c.entropy_coef_max)
    return error("[grpo] entropy_coef_min {} is above entropy_coef_max {}.", c.entropy_coef_min, c.entropy_coef_max);
  if (c.loss_type == "gmpo" && c.importance_sampling_level == "sequence")
    return error("[grpo] loss_type gmpo has its own ratio of the sequence. Remove importance_sampling_level.");
  if (c.loss_type == "vespo" && c.importance_sampling_level == "sequence")
    return error("[grpo] loss_type vespo weighs whole rows by itself. Remove importance_sampling_level.");
  return {};
}

// A reward outside this program and the key that says where it is go together.
Result<void> check_outside(bool used, bool given, std::string_view name, std::string_view value) {
  if (used && !given) return error("[grpo] reward_funcs has {0}, which needs reward_{0}: {1}.", name, value);
  if (given && !used)
    return error("[grpo] reward_{0} is given, but reward_funcs does not have {0}. Add it, or remove the key.", name);
  return {};
}

Result<void> check_rewards(GrpoConfig& c, const Given& given) {
  if (!c.reward_weights.empty() && c.reward_weights.size() != c.reward_funcs.size())
    return error("[grpo] reward_weights has {} numbers for {} reward_funcs. Give one weight for each reward.",
                 c.reward_weights.size(), c.reward_funcs.size());
  for (size_t i = 0; i < c.reward_funcs.size(); ++i)
    if (std::count(c.reward_funcs.begin(), c.reward_funcs.end(), c.reward_funcs[i]) > 1)
      return error("[grpo] reward_funcs names {} twice. Use reward_weights to weigh it.", c.reward_funcs[i]);
  if (uses_reward(c, "format") && c.format_regex.empty())
    return error("[grpo] reward_funcs has format, which needs format_regex: the whole completion must match it.");
  if (uses_reward(c, "length") && c.length_reward == "target" && !c.length_target)
    return error("[grpo] reward_funcs has length with length_reward target, which needs length_target (tokens).");
  if (uses_reward(c, "overlong")) {
    if (!c.overlong_cache)
      return error("[grpo] reward_funcs has overlong, which needs overlong_cache (tokens before the limit).");
    if (!c.overlong_max) c.overlong_max = c.max_completion_length;
    if (*c.overlong_cache > *c.overlong_max)
      return error("[grpo] overlong_cache {} is larger than overlong_max {}.", *c.overlong_cache, *c.overlong_max);
  }
  if (!c.cosine_max_len && uses_reward(c, "cosine_scaled")) c.cosine_max_len = c.max_completion_length;
  TRY(check_outside(uses_reward(c, "program"), !c.reward_program.empty(), "program", "the program and its arguments"));
  TRY(check_outside(uses_reward(c, "endpoint"), !c.reward_endpoint.empty(), "endpoint", "an http(s) address"));
  const std::string& extraction = c.accuracy_extraction;
  const bool known = extraction == "last_number" || extraction == "boxed" || extraction == "gsm8k" ||
                     extraction == "exact" || (extraction.starts_with("regex:") && extraction.size() > 6);
  if (!known) {
    const auto place = given.keys.find("accuracy_extraction");
    return error("[{}] accuracy_extraction: expected last_number, boxed, gsm8k, exact or regex:PATTERN, got {}.",
                 place == given.keys.end() ? "grpo" : place->second, quoted_text(extraction));
  }
  return {};
}

}  // namespace

Result<void> resolve_grpo(GrpoConfig& c, const Given& given) {
  TRY(resolve_training(c, given, "grpo"));
  TRY(resolve_best_model(c, "grpo"));
  if (!c.use_peft)
    return error(
        "[grpo] use_peft is false, which would train every weight of the model; that is not supported yet. Add "
        "use_peft: true to train a LoRA adapter.");
  if (c.lora_dropout != 0)
    return error(
        "[grpo] lora_dropout is {}, expected 0: with dropout the log-probabilities that train would not be those that "
        "sampled.",
        c.lora_dropout);
  TRY(check_batch(c, given));
  TRY(check_generation(c));
  TRY(check_loss(c));
  TRY(check_rewards(c, given));
  return {};
}

}  // namespace candor::recipes
