// A recipe that somebody else wrote may name a program to start or an address to send completions and a key to. What
// did not come from the command line is asked about first.
#pragma once

#include <functional>

#include "base/result.h"
#include "cli/recipe_command.h"
#include "recipes/config.h"
#include "recipes/rollout_config.h"

namespace candor::cli {

// Whether the rewards leave this program.
bool asks_outside(const recipes::RolloutConfig& config);

// Goes on where `allowed` (--allow_programs), where nothing leaves this program, or where flags named it. Else a
// terminal is asked. Error: it said no, or there is none; names the file and line, and what would be run or called.
Result<void> consent(const recipes::RolloutConfig& config, const recipes::Given& given, bool allowed);

// start_recipe, `resolve` and consent of a verb that takes --allow_programs beside its keys: no key of the recipe, so
// that a file cannot allow itself. What is wrong is said, and is the exit code. `fields` point into `config`.
RecipeStart start_with_consent(const RecipeVerb& verb, const recipes::FieldList& fields,
                               const recipes::RolloutConfig& config,
                               const std::function<Result<void>(const recipes::Given&)>& resolve, Words words);

}  // namespace candor::cli
