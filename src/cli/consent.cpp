#include "cli/consent.h"

#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "cli/exit_code.h"
#include "cli/terminal.h"

namespace candor::cli {

namespace {

// The place in a file that set the key; empty where it was a flag or nothing.
std::string place_in_file(const recipes::Given& given, const std::string& key) {
  const auto found = given.keys.find(key);
  return found == given.keys.end() || found->second.starts_with("flag ") ? "" : found->second;
}

Result<void> ask(const std::string& what, const std::string& question) {
  const std::string by_hand = "Read the recipe, then add --allow_programs.";
  if (!is_terminal(stdin) || !is_terminal(stderr)) return error("{} {}", what, by_hand);
  fmt::print(stderr, "{}\n{} [y/N] ", printable(what), question);
  std::fflush(stderr);
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == "y" || answer == "Y" || answer == "yes" || answer == "Yes") return {};
  return error("{} It was not allowed.", what);
}

}  // namespace

namespace {

// What leaves this program, by keys whose names begin with `of`: "" or "gold_".
Result<void> consent_to(const recipes::RolloutConfig& config, const recipes::Given& given, const std::string& of) {
  std::string place = place_in_file(given, of + "reward_program");
  if (!place.empty() && !config.reward_program.empty()) {
    std::vector<std::string> words;
    for (const std::string& word : config.reward_program) words.push_back(shell_word(word));
    TRY(ask(fmt::format("[{}] {}reward_program would run on this machine with your rights: {}", place, of,
                        fmt::join(words, " ")),
            "Run it?"));
  }
  place = place_in_file(given, of + "reward_endpoint");
  if (place.empty()) place = place_in_file(given, of + "reward_endpoint_key_env");
  if (!place.empty() && !config.reward_endpoint.empty()) {
    const std::string key = config.reward_endpoint_key_env.empty()
                                ? ""
                                : fmt::format(" and the key in ${}", config.reward_endpoint_key_env);
    TRY(ask(fmt::format("[{}] the prompts and completions{} would be sent to {}.", place, key, config.reward_endpoint),
            "Send them?"));
  }
  return {};
}

}  // namespace

bool asks_outside(const recipes::RolloutConfig& config) {
  const auto outside = [](const recipes::RolloutConfig& c) {
    return !c.reward_program.empty() || !c.reward_endpoint.empty();
  };
  return outside(config) || outside(recipes::gold_recipe(config));
}

Result<void> consent(const recipes::RolloutConfig& config, const recipes::Given& given, bool allowed) {
  if (allowed) return {};
  TRY(consent_to(config, given, ""));
  return consent_to(recipes::gold_recipe(config), given, "gold_");
}

RecipeStart start_with_consent(const RecipeVerb& verb, const recipes::FieldList& fields,
                               const recipes::RolloutConfig& config,
                               const std::function<Result<void>(const recipes::Given&)>& resolve, Words words) {
  const bool allowed = std::erase(words, "--allow_programs") > 0;
  const std::string summary = fmt::format(
      "{}\n--allow_programs lets a recipe file start its reward_program and call its reward_endpoint without being "
      "asked.",
      verb.summary);
  RecipeStart start = start_recipe({verb.name, summary}, fields, words);
  if (start.exit_code) return start;
  const auto resolved = resolve(start.given);
  const auto allowed_outside = resolved ? consent(config, start.given, allowed) : resolved;
  if (allowed_outside) return start;
  print_error(allowed_outside.error().message);
  start.exit_code = kUsage;
  return start;
}

}  // namespace candor::cli
