// The recipes on preferences, as their one job (preference_job.h) sees them: rows, a plan, held-out measures, training.
// What they share of the keys is PreferenceConfig, and with it all that a memory plan may choose.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/preference_evaluation.h"
#include "cli/session.h"
#include "data/rows.h"
#include "recipes/cpo_config.h"
#include "recipes/dpo_config.h"
#include "recipes/memory_plan_preference.h"
#include "recipes/supervised.h"

namespace candor::cli {

// How far a measurement is, and whether it shall end.
struct Watch {
  std::function<void(const std::string&)> doing;
  std::function<bool()> interrupted;
};
// For an evaluation's `ready`: tells how far it is, and whether to go on.
std::function<bool(size_t done, size_t all)> ready_of(const Watch& watch);

class PreferenceWork {
 public:
  virtual ~PreferenceWork() = default;

  // Rows to tokens; held_out may be null. Once, before anything below but plan().
  virtual Result<void> read(const Session& session, const data::Rows& rows, const data::Rows* held_out,
                            const std::function<void(const std::string&)>& say) = 0;
  virtual files::Json accounts() const = 0;  // what became of the rows: "train", "eval"
  virtual recipes::PreferenceWorkload workload() const = 0;
  virtual int64_t completions() const = 0;  // of a row, where no rows are at hand
  virtual Result<engine::MemoryPlan> plan(const recipes::PreferenceConfig& config, const recipes::PlanBase& base,
                                          const recipes::PreferenceWorkload& workload) const = 0;

  // The config from here on: the recipe's own with what the plan chose.
  virtual void choose(const recipes::PreferenceConfig& config) = 0;

  // Held-out rows, and what the training needs of the model as it is. Once, before start(), which puts a checkpoint's
  // weights into the session's model where every weight trains. False: interrupted.
  virtual Result<bool> measure_before(Session& session, const Watch& watch) = 0;
  virtual Result<recipes::SupervisedStart> start(Session& session) = 0;
  virtual Result<recipes::SupervisedResult> train(recipes::SupervisedParts run, recipes::SupervisedStart start) = 0;
  // Of the held-out rows, which there must be, against before. Nothing: interrupted.
  virtual Result<std::optional<PreferenceReport>> compare(const Session& session, const recipes::Trained& trained,
                                                          const Watch& watch) = 0;

  // Whether it trains a score head in the place of the language head, and so begins with a sequence classifier as well.
  virtual recipes::WithHead with_head() const { return recipes::WithHead::kNo; }
  // How final/ is used where it is no model to talk to; empty: it is one.
  virtual std::string use(const std::string& /*model*/, const std::string& /*final_folder*/) const { return ""; }
};

std::unique_ptr<PreferenceWork> work_of(const recipes::DpoConfig& config);
std::unique_ptr<PreferenceWork> work_of(const recipes::CpoConfig& config);
std::unique_ptr<PreferenceWork> work_of(const recipes::OrpoConfig& config);
std::unique_ptr<PreferenceWork> work_of(const recipes::KtoConfig& config);
std::unique_ptr<PreferenceWork> work_of(const recipes::RewardConfig& config);
std::unique_ptr<PreferenceWork> work_of(const recipes::PrmConfig& config);

}  // namespace candor::cli
