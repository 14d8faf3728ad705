// What became of a drill's run: when its hack began, when the guard saw it, and what the held-out reward had lost by
// then. Pure, from the rows that the run has written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/drill_exploits.h"
#include "files/json_file.h"
#include "guard/thresholds.h"

namespace candor::cli {

// Means over the completions of each step.
struct DrillCourse {
  std::vector<double> reward, gold;
  std::vector<double> share;  // of completions that use the exploit; 0 without one
};
// completions: the rows of completions.jsonl, in their order.
DrillCourse drill_course(const std::vector<files::Json>& completions, const Exploit* exploit);

struct DrillOutcome {
  int64_t start = 0;  // first step at which the exploit's share (mean of 3 steps) is 0.2 above its lowest; 0: never
  int64_t alarm = 0, stop = 0;       // first steps at which the guard warns of anything, and asks to stop; 0: never
  std::vector<std::string> signals;  // of the first alarm
  double peak = 0;                   // of the held-out reward (mean of 5 steps)
  double lost_by_alarm = 0, lost_by_stop = 0, lost = 0;  // shares of the highest until then; `lost`: by the end
};
// metrics: the rows of metrics.jsonl, replayed under guard: stop. Error: replay's.
Result<DrillOutcome> drill_outcome(const DrillCourse& course, const std::vector<files::Json>& metrics,
                                   int64_t control_steps, const guard::Thresholds& thresholds);

}  // namespace candor::cli
