#include "recipes/rollout_config.h"

#include <algorithm>
#include <filesystem>

namespace candor::recipes {
namespace {

bool uses_reward(const RolloutConfig& config, std::string_view name) {
  return std::find(config.reward_funcs.begin(), config.reward_funcs.end(), name) != config.reward_funcs.end();
}

// The rewards of one list of keys, whose names begin with `of`: "" or "gold_".
struct RewardKeys {
  std::string_view recipe, of;
};

// A reward whose particulars stand under another key, and that key, go together.
Result<void> check_named(const RewardKeys& keys, std::string_view name, bool used, std::string_view key, bool given,
                         std::string_view value) {
  const auto& [recipe, of] = keys;
  if (used && !given)
    return error("[{}] {}reward_funcs has {}, which needs {}{}: {}.", recipe, of, name, of, key, value);
  if (given && !used)
    return error("[{}] {}{} is given, but {}reward_funcs does not have {}. Add it, or remove the key.", recipe, of, key,
                 of, name);
  return {};
}

Result<void> check_names(const RolloutConfig& c, const RewardKeys& keys) {
  for (const std::vector<std::string>* list : {&c.reward_funcs, &c.reward_model_path})
    for (const std::string& name : *list)
      if (std::count(list->begin(), list->end(), name) > 1)
        return error("[{}] {}{} names {} twice.{}", keys.recipe, keys.of,
                     list == &c.reward_funcs ? "reward_funcs" : "reward_model_path", name,
                     keys.of.empty() ? " Use reward_weights to weigh it." : " Remove one.");
  return {};
}

Result<void> check_list(const RolloutConfig& c, std::string_view recipe) {
  if (c.reward_funcs.empty())
    return error("[{}] nothing says what a completion is rewarded for. Give reward_model_path, or reward_funcs.",
                 recipe);
  if (!c.reward_weights.empty() && c.reward_weights.size() != c.reward_funcs.size())
    return error("[{}] reward_weights has {} numbers for {} reward_funcs. Give one weight for each reward.", recipe,
                 c.reward_weights.size(), c.reward_funcs.size());
  return {};
}

Result<void> check_rewards(RolloutConfig& c, const Given& given, const RewardKeys& keys) {
  const auto& [recipe, of] = keys;
  TRY(check_names(c, keys));
  if (uses_reward(c, "format") && c.format_regex.empty())
    return error("[{}] {}reward_funcs has format, which needs format_regex: the whole completion must match it.",
                 recipe, of);
  if (uses_reward(c, "length") && c.length_reward == "target" && !c.length_target)
    return error("[{}] {}reward_funcs has length with length_reward target, which needs length_target (tokens).",
                 recipe, of);
  if (uses_reward(c, "overlong")) {
    if (!c.overlong_cache)
      return error("[{}] {}reward_funcs has overlong, which needs overlong_cache (tokens before the limit).", recipe,
                   of);
    if (!c.overlong_max) c.overlong_max = c.max_completion_length;
    if (*c.overlong_cache > *c.overlong_max)
      return error("[{}] overlong_cache {} is larger than overlong_max {}.", recipe, *c.overlong_cache,
                   *c.overlong_max);
  }
  if (!c.cosine_max_len && uses_reward(c, "cosine_scaled")) c.cosine_max_len = c.max_completion_length;
  TRY(check_named(keys, "program", uses_reward(c, "program"), "reward_program", !c.reward_program.empty(),
                  "the program and its arguments"));
  TRY(check_named(keys, "endpoint", uses_reward(c, "endpoint"), "reward_endpoint", !c.reward_endpoint.empty(),
                  "an http(s) address"));
  TRY(check_named(keys, kRewardModel, uses_reward(c, kRewardModel), "reward_model_path", !c.reward_model_path.empty(),
                  "what `candor reward` wrote, or a model with a score head"));
  const std::string& extraction = c.accuracy_extraction;
  const bool known = extraction == "last_number" || extraction == "boxed" || extraction == "gsm8k" ||
                     extraction == "exact" || (extraction.starts_with("regex:") && extraction.size() > 6);
  if (!known) {
    const std::string key = fmt::format("{}accuracy_extraction", of);
    const auto place = given.keys.find(key);
    return error("[{}] {}: expected last_number, boxed, gsm8k, exact or regex:PATTERN, got {}.",
                 place == given.keys.end() ? recipe : place->second, key, quoted_text(extraction));
  }
  return {};
}

// The last part of a path that is no name which every run's folder has.
std::string telling_name(const std::string& path) {
  const std::filesystem::path clean = (std::filesystem::path(path) / "").lexically_normal().parent_path();
  const std::string last = clean.filename().string(), above = clean.parent_path().filename().string();
  const bool of_a_run = last == "final" || last.starts_with("checkpoint-");
  return of_a_run && !above.empty() ? above : last;
}

}  // namespace

Result<void> resolve_rollouts(RolloutConfig& c, const Given& given, std::string_view recipe) {
  if (!c.use_peft)
    return error(
        "[{}] use_peft is false, which would train every weight of the model; that is not supported yet. Add "
        "use_peft: true to train a LoRA adapter.",
        recipe);
  if (c.lora_dropout != 0)
    return error(
        "[{}] lora_dropout is {}, expected 0: with dropout the log-probabilities that train would not be those that "
        "sampled.",
        recipe, c.lora_dropout);
  TRY(check_list(c, recipe));
  TRY(check_rewards(c, given, {recipe, ""}));
  TRY(check_gold(c, given, recipe));
  return resolve_guard(c, recipe);
}

Result<void> check_gold(const RolloutConfig& c, const Given& given, std::string_view recipe) {
  RolloutConfig gold = gold_recipe(c);
  if (c.has_gold()) return check_rewards(gold, given, {recipe, "gold_"});
  const std::pair<const char*, bool> without[] = {{"gold_reward_model_path", !c.gold_reward_model_path.empty()},
                                                  {"gold_reward_program", !c.gold_reward_program.empty()},
                                                  {"gold_reward_endpoint", !c.gold_reward_endpoint.empty()},
                                                  {"gold_accuracy_extraction", !c.gold_accuracy_extraction.empty()}};
  for (const auto& [key, set] : without)
    if (set)
      return error("[{}] {} is given, but gold_reward_funcs names no held-out reward. Add it, or remove the key.",
                   recipe, key);
  return {};
}

RolloutConfig gold_recipe(const RolloutConfig& config) {
  RolloutConfig gold = config;
  gold.reward_funcs = config.gold_reward_funcs;
  gold.reward_weights.clear();
  gold.reward_model_path = config.gold_reward_model_path;
  gold.reward_program = config.gold_reward_program;
  gold.reward_endpoint = config.gold_reward_endpoint;
  gold.reward_endpoint_key_env = config.gold_reward_endpoint_key_env;
  if (!config.gold_accuracy_extraction.empty()) gold.accuracy_extraction = config.gold_accuracy_extraction;
  return gold;
}

std::vector<std::string> reward_names(const RolloutConfig& config) {
  std::vector<std::string> names;
  for (const std::string& entry : config.reward_funcs)
    names.push_back(entry.find('/') == std::string::npos ? entry : telling_name(entry));
  std::vector<std::string> unique = names;
  for (size_t i = 0; i < names.size(); ++i)
    if (std::count(names.begin(), names.end(), names[i]) > 1) unique[i] = config.reward_funcs[i];
  return unique;
}

}  // namespace candor::recipes
