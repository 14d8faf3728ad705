// A GRPO run from a resolved recipe to its page: what `candor grpo` and `candor quickstart` share.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "cli/evaluation.h"
#include "cli/job.h"
#include "cli/memory.h"
#include "cli/session.h"
#include "rewards/rewards.h"

namespace candor::cli {

struct GrpoJob {
  recipes::GrpoConfig config;
  std::string command;                    // as the user typed it
  bool json = false;                      // one JSON object at the end instead of a table
  std::function<Result<void>()> prepare;  // writes files that the recipe names, once its folder is found free; or empty
};

// The recipe of candor quickstart, and of its --offline.
recipes::GrpoConfig quickstart_recipe(bool offline);

// What a run reads before it loads a weight.
struct GrpoInputs {
  std::vector<rewards::Reward> rewards;
  std::unique_ptr<Session> session;  // without weights
  data::PromptSet prompts;
  std::optional<Evaluator> evaluator;
  std::vector<int64_t> prose;  // tokens of the paragraphs that an evaluation scores
  HeldMeter meter;
};
Result<GrpoInputs> read_grpo_inputs(const recipes::GrpoConfig& config, const OpenFiles& open = open_job_files);

// Plans recipes on those inputs, which must outlive it.
recipes::PlanOf<recipes::GrpoConfig> planner_of(const GrpoInputs& inputs);

// With an eval_dataset the same items are answered before and after, greedily and sampled, and compared. Returns the
// exit code; everything is said on the terminal and written into config.output_dir.
int run_grpo_job(const GrpoJob& job);

}  // namespace candor::cli
