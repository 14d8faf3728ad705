#include "cli/ppo_job.h"

#include "recipes/memory_plan_ppo.h"
#include "recipes/ppo.h"

namespace candor::cli {

namespace {

using recipes::PpoConfig;

Result<Train> start(const PpoConfig& config, const Session& session, const data::PromptSet& prompts) {
  const auto begun = std::make_shared<recipes::PpoStart>(
      TRY(recipes::start_ppo(config, session.context, session.model, session.files, prompts)));
  return Train([begun, &config](recipes::RolloutParts parts) {
    return recipes::run_ppo(config, std::move(parts), std::move(*begun));
  });
}

}  // namespace

RolloutRecipe<PpoConfig> ppo_recipe() {
  return {.name = "ppo",
          .defaults = {},
          .kl = "objective/kl",
          .fields = recipes::ppo_fields,
          .plan = recipes::plan_ppo,
          .start = start};
}

}  // namespace candor::cli
