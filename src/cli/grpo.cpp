// candor grpo RECIPE.yaml
#include <algorithm>

#include "cli/consent.h"
#include "cli/exit_code.h"
#include "cli/grpo_job.h"
#include "cli/recipe_command.h"
#include "cli/terminal.h"

namespace candor::cli {

int grpo(const Words& words) {
  GrpoJob job;
  const recipes::FieldList fields = recipes::grpo_fields(job.config);
  // No key of the recipe: a file must not be able to allow itself.
  Words rest = words;
  const bool allowed = std::erase(rest, "--allow_programs") > 0;
  const RecipeStart start =
      start_recipe({"grpo",
                    "Trains a LoRA adapter by GRPO: groups of completions are sampled, rewarded and compared.\n"
                    "--allow_programs lets a recipe file start its reward_program and call its reward_endpoint without "
                    "being asked."},
                   fields, rest);
  if (start.exit_code) return *start.exit_code;
  const auto resolved = recipes::resolve_grpo(job.config, start.given);
  const auto allowed_outside = resolved ? consent(job.config, start.given, allowed) : resolved;
  if (!allowed_outside) {
    print_error(allowed_outside.error().message);
    return kUsage;
  }
  job.json = start.json;
  job.command = command_line("grpo", words);
  return run_grpo_job(job);
}

}  // namespace candor::cli
