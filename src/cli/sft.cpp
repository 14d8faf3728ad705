// candor sft RECIPE.yaml
#include "cli/sft_job.h"

#include "cli/exit_code.h"
#include "cli/recipe_command.h"
#include "cli/terminal.h"

namespace candor::cli {

int sft(const Words& words) {
  SftJob job;
  const recipes::FieldList fields = recipes::sft_fields(job.config);
  const RecipeStart start = start_recipe(
      {"sft", "Trains on given completions: a LoRA adapter where an lora_* key is given, else every weight."}, fields,
      words);
  if (start.exit_code) return *start.exit_code;
  if (const auto resolved = recipes::resolve_sft(job.config, start.given); !resolved) {
    print_error(resolved.error().message);
    return kUsage;
  }
  job.json = start.json;
  job.command = command_line("sft", words);
  return run_sft_job(job);
}

}  // namespace candor::cli
