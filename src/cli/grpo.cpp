// candor grpo RECIPE.yaml, and the verbs that are the same recipe with other keys and defaults.
#include "cli/consent.h"
#include "cli/grpo_job.h"
#include "cli/recipe_command.h"

namespace candor::cli {

namespace {

int train(recipes::GroupRecipe recipe, const std::string& summary, const Words& words) {
  GrpoJob job{.config = recipes::GrpoConfig(recipe), .command = {}, .json = false, .prepare = {}};
  const recipes::FieldList fields = recipes::grpo_fields(job.config);
  const RecipeStart start = start_with_consent(
      {job.config.name(), summary}, fields, job.config,
      [&](const recipes::Given& given) { return recipes::resolve_grpo(job.config, given); }, words);
  if (start.exit_code) return *start.exit_code;
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
