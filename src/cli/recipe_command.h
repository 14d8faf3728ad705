// What every recipe verb (grpo, later sft, dpo, …) does before its loop: --help, the keys, the run's folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cli/verbs.h"
#include "recipes/config.h"
#include "recipes/fields.h"

namespace candor::cli {

struct RecipeVerb {
  std::string_view name;     // "grpo"
  std::string_view summary;  // one sentence for --help
};

struct RecipeStart {
  std::optional<int> exit_code;  // set: the verb is over (help was printed, or an error)
  recipes::Given given;
  bool json = false;  // --json: one JSON object at the end instead of a table
};

// Reads `candor NAME [RECIPE.yaml] [--key value ...]` into the fields and prints notes and errors. --help lists the
// keys, `--help --json` lists them for programs. `fields` must point into an instance that holds the defaults.
RecipeStart start_recipe(const RecipeVerb& verb, const recipes::FieldList& fields, const Words& words);

// A word as a shell reads it: as it is where that is safe, else in single quotes.
std::string shell_word(const std::string& word);

// "candor grpo recipe.yaml --seed 3": what the user typed, quoted for a shell where needed.
std::string command_line(std::string_view verb, const Words& words);

}  // namespace candor::cli
