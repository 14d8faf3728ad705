// A run that samples and rewards, from a resolved recipe to its page: what `candor grpo`, its other verbs, `candor ppo`
// and `candor quickstart` share.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/evaluation.h"
#include "cli/job.h"
#include "cli/memory.h"
#include "cli/session.h"
#include "recipes/config_print.h"
#include "recipes/memory_plan.h"
#include "recipes/reward_models.h"
#include "recipes/rollout_parts.h"
#include "recipes/rollout_progress.h"

namespace candor::cli {

template <typename Config>
struct RolloutJob {
  Config config;
  std::string command;                    // as the user typed it
  bool json = false;                      // one JSON object at the end instead of a table
  std::function<Result<void>()> prepare;  // writes files that the recipe names, once its folder is found free; or empty
};

using Train = std::function<Result<recipes::RolloutResult>(recipes::RolloutParts)>;

// A recipe, as the job sees it.
template <typename Config>
struct RolloutRecipe {
  std::string name;     // "grpo": the verb, and what opens messages
  Config defaults;      // of this recipe
  std::string_view kl;  // the metric that the terminal shows as the KL; empty: none
  recipes::FieldList (*fields)(Config&) = nullptr;
  Result<engine::MemoryPlan> (*plan)(const Config&, const recipes::PlanBase&, const recipes::GrpoWorkload&) = nullptr;
  // Reads where the run begins and writes nothing; the answer, to be called once, trains.
  Result<Train> (*start)(const Config&, const Session&, const data::PromptSet&) = nullptr;
};

// What a run reads before it loads a weight.
struct RolloutInputs {
  std::unique_ptr<Session> session;                                   // without weights
  std::unique_ptr<recipes::RewardModels> reward_models, gold_models;  // no weights either; in the session's ledger
  std::vector<rewards::Reward> rewards, gold;                         // refer to them
  data::PromptSet prompts;
  std::optional<Evaluator> evaluator;
  std::vector<int64_t> prose;  // tokens of the paragraphs that an evaluation scores
  HeldMeter meter;
};
Result<RolloutInputs> read_rollout_inputs(std::string_view verb, const recipes::RolloutConfig& config,
                                          const OpenFiles& open = open_job_files);

// Plans recipes on those inputs, which must outlive it.
template <typename Config>
recipes::PlanOf<Config> planner_of(const RolloutRecipe<Config>& recipe, const RolloutInputs& inputs);

// With an eval_dataset the same items are answered before and after, greedily and sampled, and compared. Returns the
// exit code; everything is said on the terminal and written into config.output_dir.
template <typename Config>
int run_rollout_job(const RolloutRecipe<Config>& recipe, const RolloutJob<Config>& job);

}  // namespace candor::cli
