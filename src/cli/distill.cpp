// candor distill RECIPE.yaml
#include "cli/distill_job.h"
#include "cli/exit_code.h"
#include "cli/recipe_command.h"
#include "cli/terminal.h"

namespace candor::cli {

int distill(const Words& words) {
  DistillJob job;
  const recipes::FieldList fields = recipes::distill_fields(job.config);
  const RecipeStart start = start_recipe(
      {"distill",
       "Trains a student on a teacher's whole next-token distributions: a LoRA adapter where an lora_* key is given, "
       "else every weight. The teacher is another model, an adapter, or the model itself that is told more."},
      fields, words);
  if (start.exit_code) return *start.exit_code;
  if (const auto resolved = recipes::resolve_distill(job.config, start.given); !resolved) {
    print_error(resolved.error().message);
    return kUsage;
  }
  job.json = start.json;
  job.command = command_line("distill", words);
  return run_distill_job(job);
}

}  // namespace candor::cli
