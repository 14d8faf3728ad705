// candor dpo|cpo|orpo|kto|reward|prm RECIPE.yaml
#include "cli/exit_code.h"
#include "cli/preference_job.h"
#include "cli/preference_recipes.h"
#include "cli/terminal.h"

namespace candor::cli {

namespace {

template <typename Config>
int run_recipe(const PreferenceRecipe<Config>& recipe, const Words& words) {
  Config config;
  const recipes::FieldList fields = recipe.fields(config);
  const RecipeStart start = start_recipe(recipe.verb, fields, words);
  if (start.exit_code) return *start.exit_code;
  if (const auto resolved = recipe.resolve(config, start.given); !resolved) {
    print_error(resolved.error().message);
    return kUsage;
  }
  const PreferenceJob job{
      .verb = std::string(recipe.verb.name),
      .config = config,
      .work = work_of(config),
      .fields = fields,
      .recipe_yaml = kept_yaml(config, recipe.fields),
      .check_folder = [&] { return with_run_directory(config, recipe.fields, recipes::check_run_directory); },
      .prepare = [&] { return with_run_directory(config, recipe.fields, recipes::prepare_run_directory); },
      .command = command_line(recipe.verb.name, words),
      .json = start.json};
  return run_preference_job(job);
}

}  // namespace

int dpo(const Words& words) {
  return run_recipe(kDpo, words);
}
int cpo(const Words& words) {
  return run_recipe(kCpo, words);
}
int orpo(const Words& words) {
  return run_recipe(kOrpo, words);
}
int kto(const Words& words) {
  return run_recipe(kKto, words);
}
int prm(const Words& words) {
  return run_recipe(kPrm, words);
}
int reward(const Words& words) {
  return run_recipe(kReward, words);
}

}  // namespace candor::cli
