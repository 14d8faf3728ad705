// candor grpo RECIPE.yaml, and the verbs that are the same recipe with other keys and defaults.
#include <algorithm>

#include "cli/consent.h"
#include "cli/exit_code.h"
#include "cli/grpo_job.h"
#include "cli/recipe_command.h"
#include "cli/terminal.h"

namespace candor::cli {

namespace {

int train(recipes::GroupRecipe recipe, const std::string& summary, const Words& words) {
  GrpoJob job{.config = recipes::GrpoConfig(recipe), .command = {}, .json = false, .prepare = {}};
  const recipes::FieldList fields = recipes::grpo_fields(job.config);
  // No key of the recipe: a file must not be able to allow itself.
  Words rest = words;
  const bool allowed = std::erase(rest, "--allow_programs") > 0;
  const std::string help = summary +
                           "\n--allow_programs lets a recipe file start its reward_program and call its "
                           "reward_endpoint without being asked.";
  const RecipeStart start = start_recipe({job.config.name(), help}, fields, rest);
  if (start.exit_code) return *start.exit_code;
  const auto resolved = recipes::resolve_grpo(job.config, start.given);
  const auto allowed_outside = resolved ? consent(job.config, start.given, allowed) : resolved;
  if (!allowed_outside) {
    print_error(allowed_outside.error().message);
    return kUsage;
  }
  job.json = start.json;
  job.command = command_line(job.config.name(), words);
  return run_grpo_job(job);
}

}  // namespace

int grpo(const Words& words) {
  return train(recipes::GroupRecipe::kGrpo,
               "Trains a LoRA adapter by GRPO: groups of completions are sampled, rewarded and compared.", words);
}

int rloo(const Words& words) {
  return train(
      recipes::GroupRecipe::kRloo,
      "Trains a LoRA adapter by RLOO: a completion's reward is compared with the others' of its prompt, the KL "
      "to the\ninitial model is taken from the reward, and the ratio is that of whole completions.",
      words);
}

int online_dpo(const Words& words) {
  return train(recipes::GroupRecipe::kOnlineDpo,
               "Trains a LoRA adapter by online DPO: of two sampled completions the rewards choose the better one, and "
               "DPO's loss\nlearns from the pair.",
               words);
}

int xpo(const Words& words) {
  return train(recipes::GroupRecipe::kXpo,
               "Trains a LoRA adapter by XPO: online DPO on a completion of the policy and one of the initial model, "
               "with a bonus\nfor leaving what the initial model writes.",
               words);
}

int nash_md(const Words& words) {
  return train(
      recipes::GroupRecipe::kNashMd,
      "Trains a LoRA adapter by Nash-MD: a completion of the policy plays against one of the geometric mixture "
      "of policy and\ninitial model, and wins with the probability that their rewards give it.",
      words);
}

}  // namespace candor::cli
