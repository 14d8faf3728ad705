// An SFT run from a resolved recipe to its page.
#pragma once

#include <functional>
#include <string>

#include "cli/job.h"
#include "cli/memory.h"
#include "cli/session.h"
#include "data/sft.h"

namespace candor::cli {

struct SftJob {
  recipes::SftConfig config;
  std::string command;                    // as the user typed it
  bool json = false;                      // one JSON object at the end instead of a table
  std::function<Result<void>()> prepare;  // writes files that the recipe names, once its folder is found free; or empty
};

// What a run reads before it loads a weight.
struct SftInputs {
  data::Rows rows;
  std::unique_ptr<Session> session;  // without weights
  data::SftSet train;
  std::optional<data::SftSet> held_out;
  HeldMeter meter;
};
Result<SftInputs> read_sft_inputs(const recipes::SftConfig& config, const std::function<void(const std::string&)>& say,
                                  const OpenFiles& open = open_job_files);

// Plans recipes on those inputs, which must outlive it.
recipes::PlanOf<recipes::SftConfig> planner_of(const SftInputs& inputs);

// With an eval_dataset the loss on it is taken before and after and compared row by row, and some of its prompts are
// answered. Returns the exit code; everything is said on the terminal and written into config.output_dir.
int run_sft_job(const SftJob& job);

}  // namespace candor::cli
