// candor ppo RECIPE.yaml
#include "cli/consent.h"
#include "cli/exit_code.h"
#include "cli/ppo_job.h"
#include "cli/recipe_command.h"
#include "cli/terminal.h"

namespace candor::cli {

int ppo(const Words& words) {
  RolloutJob<recipes::PpoConfig> job;
  const recipes::FieldList fields = recipes::ppo_fields(job.config);
  // No key of the recipe: a file must not be able to allow itself.
  Words rest = words;
  const bool allowed = std::erase(rest, "--allow_programs") > 0;
  const RecipeStart start = start_recipe(
      {"ppo",
       "Trains a LoRA adapter by PPO: a critic says what each token was worth. Policy, reference, reward model and "
       "critic\nare roles on one frozen base.\n--allow_programs lets a recipe file start its reward_program and call "
       "its reward_endpoint without being asked."},
      fields, rest);
  if (start.exit_code) return *start.exit_code;
  const auto resolved = recipes::resolve_ppo(job.config, start.given);
  const auto allowed_outside = resolved ? consent(job.config, start.given, allowed) : resolved;
  if (!allowed_outside) {
    print_error(allowed_outside.error().message);
    return kUsage;
  }
  job.json = start.json;
  job.command = command_line("ppo", words);
  return run_rollout_job(ppo_recipe(), job);
}

}  // namespace candor::cli
