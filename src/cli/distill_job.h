// A distillation run from a resolved recipe to its page.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/job.h"
#include "cli/memory.h"
#include "cli/session.h"
#include "data/sft.h"
#include "recipes/distill_teacher.h"
#include "recipes/memory_plan_distill.h"

namespace candor::cli {

struct DistillJob {
  recipes::DistillConfig config;
  std::string command;  // as the user typed it
  bool json = false;    // one JSON object at the end instead of a table
};

// What a run reads before it loads a weight.
struct DistillInputs {
  data::Rows rows;
  std::unique_ptr<Session> session;  // without weights
  recipes::TeacherFiles teacher;
  data::SftSet student_rows;  // the account of the rows
  std::optional<data::SftSet> held_out_rows;
  recipes::DistillSet train;
  std::optional<recipes::DistillSet> held_out;
  HeldMeter meter;
};
Result<DistillInputs> read_distill_inputs(const recipes::DistillConfig& config,
                                          const std::function<void(const std::string&)>& say,
                                          const OpenFiles& open = open_job_files);

// Plans recipes on those inputs, which must outlive it.
recipes::PlanOf<recipes::DistillConfig> planner_of(const DistillInputs& inputs);

// With an eval_dataset the distance to the teacher on it is taken before and after and compared row by row, and some of
// its prompts are answered. Returns the exit code; everything is said on the terminal and written into
// config.output_dir.
int run_distill_job(const DistillJob& job);

}  // namespace candor::cli
