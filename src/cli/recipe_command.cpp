#include "cli/recipe_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cli/exit_code.h"
#include "cli/terminal.h"
#include "recipes/config_print.h"

namespace candor::cli {
namespace {

bool take(Words& words, std::string_view word) {
  const auto place = std::find(words.begin(), words.end(), word);
  if (place == words.end()) return false;
  words.erase(place);
  return true;
}

void print_recipe_help(const RecipeVerb& verb, const recipes::FieldList& fields, bool json) {
  if (json) {
    fmt::print("{}", recipes::listing_json(fields));
    return;
  }
  fmt::print(
      "usage: candor {} [RECIPE.yaml] [--key value ...]\n\n{}\n\n"
      "RECIPE.yaml holds the same keys as the flags; a flag wins over the file, the file over the default.\n"
      "Lists are written --key a,b. --json prints the run's summary as one JSON object; --help --json lists these "
      "keys.\n\n{}",
      verb.name, verb.summary, recipes::help_text(fields));
}

Result<recipes::Given> load(const recipes::FieldList& fields, const Words& words) {
  const auto line = TRY(recipes::split_command_line(fields, words));
  if (line.positional.size() > 1)
    return error("expected one recipe, got {} and {}. Flags are written --key value.", in_quotes(line.positional[0]),
                 in_quotes(line.positional[1]));
  std::optional<std::filesystem::path> recipe;
  if (!line.positional.empty()) recipe = line.positional[0];
  return recipes::load_fields(fields, recipe, line.flags);
}

}  // namespace

RecipeStart start_recipe(const RecipeVerb& verb, const recipes::FieldList& fields, const Words& words) {
  RecipeStart start;
  Words rest = words;
  start.json = take(rest, "--json");
  if (take(rest, "--help") || take(rest, "-h")) {
    print_recipe_help(verb, fields, start.json);
    start.exit_code = kOk;
    return start;
  }
  auto given = load(fields, rest);
  if (!given) {
    print_error(given.error().message);
    start.exit_code = kUsage;
    return start;
  }
  for (const std::string& note : given->notes) print_note(note);
  start.given = std::move(*given);
  return start;
}

std::string shell_word(const std::string& word) {
  constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,+@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) {
    if (c == '\'')
      quoted += "'\\''";
    else
      quoted += c;
  }
  quoted += '\'';
  return quoted;
}

std::string command_line(std::string_view verb, const Words& words) {
  std::string line = fmt::format("candor {}", verb);
  for (const std::string& word : words) {
    line += ' ';
    line += shell_word(word);
  }
  return line;
}

}  // namespace candor::cli
