// A run's memory: planned before the weights are loaded, held against its limit, refused with advice.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/memory_limit.h"
#include "cli/progress.h"
#include "files/json_file.h"
#include "recipes/memory_fit.h"
#include "recipes/memory_plan.h"

namespace candor::cli {

// What the process holds before it loads a weight, as the system counts it: first the program itself, then what each
// step of reading has added.
class HeldMeter {
 public:
  HeldMeter();
  void mark(const std::string& role, const std::string& name);  // what has come since the last mark
  const std::vector<recipes::HeldBytes>& held() const { return held_; }

 private:
  int64_t last_ = 0;
  std::vector<recipes::HeldBytes> held_;
};

// What max_memory says; auto: memory_limit().
Result<MemoryLimit> limit_of(const std::string& max_memory);

// "this run needs 3.20 GiB …, of which … Changes that make it fit: …".
Error refusal(std::string_view verb, const engine::MemoryPlan& plan, const MemoryLimit& limit,
              const std::vector<recipes::Change>& changes);

template <typename Config>
struct PlannedRun {
  Config config;  // with what the plan chose (recipes::fit_into)
  engine::MemoryPlan plan;
  MemoryLimit limit;
  std::optional<Error> refused;  // it does not fit: why, with the changes that would make it fit
};

// The plan of a run that begins. Error: the recipe does not fit the model.
template <typename Config>
Result<PlannedRun<Config>> plan_run(std::string_view verb, const Config& config,
                                    const recipes::PlanOf<Config>& plan_of) {
  const MemoryLimit limit = TRY(limit_of(config.max_memory));
  recipes::Fitted<Config> fitted = TRY(recipes::fit_into(config, plan_of, limit.bytes));
  std::optional<Error> refused;
  if (fitted.plan.peak_bytes() > limit.bytes)
    refused = refusal(verb, fitted.plan, limit, recipes::cheapest_changes(config, plan_of, limit.bytes));
  return PlannedRun<Config>{std::move(fitted.config), std::move(fitted.plan), limit, std::move(refused)};
}

// "passes of 256 tokens", and whether layers are computed once more: what the plan chose.
std::string passes_text(const recipes::TrainingConfig& config);

// "memory: 812 MiB planned at its peak (training), of 21.0 GiB; passes of 512 tokens".
std::string plan_line(const engine::MemoryPlan& plan, const MemoryLimit& limit, const recipes::TrainingConfig& config);

// peak_bytes, fits, limit_bytes, the peak's buffers, bytes by role, every phase's peak.
files::Json plan_json(const engine::MemoryPlan& plan, const MemoryLimit& limit);

// [{flags, peak_bytes}].
files::Json changes_json(const std::vector<recipes::Change>& changes);

// The plan as a table.
void print_plan(const engine::MemoryPlan& plan, const MemoryLimit& limit);

// What summary.json says of the plan: planned_bytes and memory.
void add_plan(files::Json& summary, const engine::MemoryPlan& plan, const MemoryLimit& limit,
              const recipes::TrainingConfig& config);

}  // namespace candor::cli
