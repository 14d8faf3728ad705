// A run on preferences (dpo, cpo, orpo, kto, reward, prm) from a resolved recipe to its page.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/job.h"
#include "cli/memory.h"
#include "cli/preference_work.h"

namespace candor::cli {

struct PreferenceJob {
  std::string verb;                  // "dpo"
  recipes::PreferenceConfig config;  // what these recipes share of the keys
  std::unique_ptr<PreferenceWork> work;
  const recipes::FieldList& fields;                     // of the recipe's own config, resolved
  std::string recipe_yaml;                              // as its folder keeps it
  std::function<Result<void>()> check_folder, prepare;  // run_directory.h
  std::string command;                                  // as the user typed it
  bool json = false;                                    // one JSON object at the end instead of a table
};

// What a run reads before it loads a weight, beside what the work keeps.
struct PreferenceInputs {
  data::Rows rows;
  std::unique_ptr<Session> session;  // without weights
  HeldMeter meter;
};
Result<PreferenceInputs> read_preference_inputs(std::string_view verb, const recipes::PreferenceConfig& config,
                                                PreferenceWork& work,
                                                const std::function<void(const std::string&)>& say,
                                                const OpenFiles& open = open_job_files);

// Plans recipes on those inputs. All must outlive it.
recipes::PlanOf<recipes::PreferenceConfig> planner_of(const PreferenceInputs& inputs, const PreferenceWork& work);

// With an eval_dataset held-out rows are measured before and after and compared row by row. Returns the exit code;
// everything is said on the terminal and written into config.output_dir.
int run_preference_job(const PreferenceJob& job);

}  // namespace candor::cli
