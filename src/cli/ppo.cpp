// candor ppo RECIPE.yaml
#include "cli/consent.h"
#include "cli/ppo_job.h"
#include "cli/recipe_command.h"

namespace candor::cli {

int ppo(const Words& words) {
  RolloutJob<recipes::PpoConfig> job;
  const recipes::FieldList fields = recipes::ppo_fields(job.config);
  const RecipeStart start = start_with_consent(
      {"ppo",
       "Trains a LoRA adapter by PPO: a critic says what each token was worth. Policy, reference, reward model and "
       "critic\nare roles on one frozen base."},
      fields, job.config, [&](const recipes::Given& given) { return recipes::resolve_ppo(job.config, given); }, words);
  if (start.exit_code) return *start.exit_code;
  job.json = start.json;
  job.command = command_line("ppo", words);
  return run_rollout_job(ppo_recipe(), job);
}

}  // namespace candor::cli
