#include "cli/grpo_job.h"

#include "recipes/grpo.h"

namespace candor::cli {

namespace {

using recipes::GrpoConfig;

Result<Train> start(const GrpoConfig& config, const Session& session, const data::PromptSet& prompts) {
  const auto begun =
      std::make_shared<recipes::GrpoStart>(TRY(recipes::start_grpo(config, session.context, session.model, prompts)));
  return Train([begun, &config](recipes::RolloutParts parts) {
    return recipes::run_grpo(config, std::move(parts), std::move(*begun));
  });
}

}  // namespace

RolloutRecipe<GrpoConfig> grpo_recipe(const GrpoConfig& config) {
  return {.name = std::string(config.name()),
          .defaults = GrpoConfig(config.recipe),
          .kl = config.beta != 0 && !config.compares_pairs() ? "kl_k1" : "",
          .fields = recipes::grpo_fields,
          .plan = recipes::plan_grpo,
          .start = start};
}

int run_grpo_job(const GrpoJob& job) {
  return run_rollout_job(grpo_recipe(job.config), job);
}

}  // namespace candor::cli
