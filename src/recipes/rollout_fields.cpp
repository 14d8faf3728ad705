// The keys that the recipes share which sample and reward.
#include "recipes/rollout_config.h"

namespace candor::recipes {

namespace {

// The words of reward_funcs.
std::vector<std::string> reward_choices() {
  return {"accuracy", "concise_accuracy", "reasoned_accuracy", "arithmetic_steps", "format",   "think_format", "length",
          "overlong", "repetition",       "cosine_scaled",     "program",          "endpoint", kRewardModel};
}

}  // namespace

void add_sampling(FieldList& list, RolloutConfig& c, const SamplingWords& words) {
  list.section(Heading::kResults, "Sampling");
  list.add(words.length, &c.max_completion_length, "longest completion, its stop token included",
           {.unit = "tokens", .range = between(1, kMaxTokens)});
  list.add("max_prompt_length", &c.max_prompt_length, "a longer prompt stops the run",
           {.unit = "tokens", .range = between(1, kMaxTokens), .without = "what the context leaves"});
  list.add("temperature", &c.temperature, words.temperature, {.range = above_up_to(0, 100)});
  list.add("top_k", &c.top_k, "sample from the k likeliest tokens; 0 from all",
           {.unit = "tokens", .range = between(0, kMaxTokens)});
  list.add("top_p", &c.top_p, "sample from the fewest tokens whose probabilities reach this sum",
           {.range = above_up_to(0, 1)});
  list.add("min_p", &c.min_p, "leave out tokens less likely than this share of the likeliest one",
           {.range = between(0, 1), .without = "none are"});
  list.add("repetition_penalty", &c.repetition_penalty,
           "above 1 makes tokens that have stood before less likely; the policy trains without it",
           {.range = above(0)});
  list.add("stop", &c.stop, "texts that end a completion");
}

void add_rewards(FieldList& list, RolloutConfig& c, bool required) {
  list.section(Heading::kResults, "Rewards");
  list.add("reward_funcs", &c.reward_funcs, "what a completion is rewarded for",
           {.choices = reward_choices(), .or_path = "or paths of reward models (with a /)", .required = required});
  list.add("reward_weights", &c.reward_weights, "one for each of reward_funcs; empty is 1 for all");
  list.add("reward_model_path", &c.reward_model_path,
           "reward_model: what `candor reward` wrote, or a model with a score head; several are one reward");
  list.add("reward_ensemble", &c.reward_ensemble,
           "several of reward_model_path give their mean, the worst of them, or "
           "mean - lambda * variance",
           {.choices = {"mean", "min", "mean_minus_variance"}});
  list.add("reward_ensemble_lambda", &c.reward_ensemble_lambda, "weight of the variance over the reward models",
           {.range = at_least(0)});
  list.add("accuracy_extraction", &c.accuracy_extraction,
           "where accuracy finds the answer: last_number, boxed, gsm8k (after ####), exact or regex:PATTERN");
  list.add("reasoned_without_steps", &c.reasoned_without_steps,
           "reasoned_accuracy of a right answer whose text has no equation", {.range = between(0, 1)});
  list.add(
      "length_penalty_alpha", &c.length_penalty_alpha,
      "share of its reward that the longest completion may lose beside others that are right (concise_accuracy), or "
      "at least as good as their group (reward models)",
      {.range = between(0, 0.99), .without = "0.1 in concise_accuracy, 0 elsewhere"});
  list.add("format_regex", &c.format_regex, "format gives 1 where the whole completion matches this");
  list.add("length_reward", &c.length_reward, "nearness to length_target, or more for longer completions (a drill)",
           {.choices = {"target", "longer"}});
  list.add("length_target", &c.length_target, "what length aims at",
           {.unit = "tokens", .range = between(1, kMaxTokens)});
  list.add("overlong_max", &c.overlong_max, "overlong gives -1 from here on",
           {.unit = "tokens", .range = between(1, kMaxTokens), .without = "max_completion_length"});
  list.add("overlong_cache", &c.overlong_cache, "overlong falls from 0 to -1 over these last tokens",
           {.unit = "tokens", .range = between(1, kMaxTokens)});
  list.add("repetition_ngram_size", &c.repetition_ngram_size, "repetition compares runs of so many tokens",
           {.unit = "tokens", .range = between(1, kMaxTokens)});
  list.add("repetition_max_penalty", &c.repetition_max_penalty, "what repetition gives where all is repeated",
           {.range = between(-1e9, 0)});
  list.add("cosine_max_len", &c.cosine_max_len, "length at which cosine_scaled has reached its end",
           {.unit = "tokens", .range = between(1, kMaxTokens), .without = "max_completion_length"});
  list.add("cosine_min_value_wrong", &c.cosine_min_value_wrong, "cosine_scaled: a wrong answer, the shortest");
  list.add("cosine_max_value_wrong", &c.cosine_max_value_wrong, "cosine_scaled: a wrong answer, the longest");
  list.add("cosine_min_value_correct", &c.cosine_min_value_correct, "cosine_scaled: a right answer, the longest");
  list.add("cosine_max_value_correct", &c.cosine_max_value_correct, "cosine_scaled: a right answer, the shortest");
  list.add("reward_program", &c.reward_program,
           "program: the program that scores and its arguments, JSON lines in and out (docs/rewards.md)");
  list.add("reward_endpoint", &c.reward_endpoint, "endpoint: the http(s) address that scores (docs/rewards.md)");
}

void add_gold(FieldList& list, RolloutConfig& c) {
  list.add(
      "screen_rewards", &c.screen_rewards,
      "before the first step every reward is asked about completions that say nothing; where one is paid for: warn "
      "says so, stop does not begin, off does not ask",
      {.choices = {"warn", "stop", "off"}, .other_names = {{"false", "off"}, {"False", "off"}}});
  add_gold_keys(list, c, reward_choices());
  list.add("gold_reward_program", &c.gold_reward_program, "its program and the program's arguments");
  list.add("gold_reward_endpoint", &c.gold_reward_endpoint, "its endpoint");
}

void add_gold_keys(FieldList& list, GoldKeys& c, const std::vector<std::string>& choices) {
  list.add("gold_reward_funcs", &c.gold_reward_funcs,
           "a held-out, stricter reward that never trains: what the reward should stand for",
           {.choices = choices, .or_path = "or paths of reward models (with a /)"});
  list.add("gold_steps", &c.gold_steps, "steps from one look at it to the next; the first step has one, too",
           {.unit = "steps", .range = between(1, 1e9)});
  list.add(
      "gold_accuracy_extraction", &c.gold_accuracy_extraction,
      "where its accuracy finds the answer; empty: as accuracy_extraction, which is last_number where a recipe has "
      "no such key");
  list.add("gold_reward_model_path", &c.gold_reward_model_path, "its reward_model");
}

void add_rollout_speed(FieldList& list, RolloutConfig& c) {
  list.add("generation_rows", &c.generation_rows, "completions sampled side by side; 0 leaves it to the engine",
           {.unit = "completions", .range = between(0, kMaxRows)});
  list.add("reward_timeout", &c.reward_timeout, "for all that program or endpoint is asked at once",
           {.unit = "s", .range = above_up_to(0, 86400)});
  list.add("reward_memory_mib", &c.reward_memory_mib, "address space of the program; 0 is no limit",
           {.unit = "MiB", .range = between(0, 1 << 24)});
  list.add("reward_endpoint_key_env", &c.reward_endpoint_key_env,
           "variable of the environment that holds the key for endpoint");
  list.add("gold_reward_endpoint_key_env", &c.gold_reward_endpoint_key_env, "the same for gold_reward_endpoint");
}

void add_completions_record(FieldList& list, RolloutConfig& c) {
  list.add("log_completions", &c.log_completions, "print completions in the terminal");
  list.add("num_completions_to_print", &c.num_completions_to_print, "how many of a step",
           {.range = between(1, kMaxRows), .without = "all"});
}

void add_kl_record(FieldList& list, RolloutConfig& c, std::string_view steps) {
  list.add(
      "exact_kl_steps", &c.exact_kl_steps,
      fmt::format("every how many {} the exact KL to the reference is measured, over the whole vocabulary; 0: never",
                  steps),
      {.range = between(0, 1e9)});
  list.add("forward_kl_prompts", &c.forward_kl_prompts,
           "measured with it, the KL of the reference from the policy on the reference's completions of so many "
           "prompts: the first of eval_dataset, or of the prompts where there is none",
           {.unit = "prompts", .range = between(0, kMaxRows)});
}

}  // namespace candor::recipes
