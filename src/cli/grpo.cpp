// candor grpo RECIPE.yaml
#include "cli/exit_code.h"
#include "cli/grpo_job.h"
#include "cli/recipe_command.h"
#include "cli/terminal.h"

namespace candor::cli {

int grpo(const Words& words) {
  GrpoJob job;
  const recipes::FieldList fields = recipes::grpo_fields(job.config);
  const RecipeStart start =
      start_recipe({"grpo", "Trains a LoRA adapter by GRPO: groups of completions are sampled, rewarded and compared."},
                   fields, words);
  if (start.exit_code) return *start.exit_code;
  if (const auto resolved = recipes::resolve_grpo(job.config, start.given); !resolved) {
    print_error(resolved.error().message);
    return kUsage;
  }
  job.json = start.json;
  job.command = command_line("grpo", words);
  return run_grpo_job(job);
}

}  // namespace candor::cli
