// candor pretrain RECIPE.yaml
#include "cli/exit_code.h"
#include "cli/recipe_command.h"
#include "cli/sft_job.h"
#include "cli/terminal.h"
#include "recipes/pretrain_config.h"

namespace candor::cli {

int pretrain(const Words& words) {
  recipes::PretrainConfig config;
  const recipes::FieldList fields = recipes::pretrain_fields(config);
  const RecipeStart start = start_recipe(
      {"pretrain", "Trains a new small model from text: a byte-level BPE first, then every weight."}, fields, words);
  if (start.exit_code) return *start.exit_code;
  if (const auto resolved = recipes::resolve_pretrain(config, start.given); !resolved) {
    print_error(resolved.error().message);
    return kUsage;
  }
  SftJob job;
  job.config = config;
  job.json = start.json;
  job.command = command_line("pretrain", words);
  job.prepare = [&config] { return recipes::write_initial_model(config); };
  return run_sft_job(job);
}

}  // namespace candor::cli
