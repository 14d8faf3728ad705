#include "algorithms/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/math.h"

namespace candor::algorithms {

double learning_rate(const Schedule& schedule, int64_t step) {
  if (schedule.type == SchedulerType::kConstant) return schedule.peak;
  const int64_t warmup = schedule.warmup_steps;
  if (step < warmup)
    return schedule.peak * (static_cast<double>(step) / static_cast<double>(std::max<int64_t>(warmup, 1)));
  if (schedule.type == SchedulerType::kConstantWithWarmup) return schedule.peak;

  const int64_t left = std::max<int64_t>(schedule.max_steps - step, 0);
  const double decay_steps = static_cast<double>(std::max<int64_t>(schedule.max_steps - warmup, 1));
  if (schedule.type == SchedulerType::kLinear) return schedule.peak * (static_cast<double>(left) / decay_steps);
  const double progress = std::min(static_cast<double>(step - warmup) / decay_steps, 1.0);
  return schedule.peak * std::max(0.0, 0.5 * (1.0 + exact_cos(std::numbers::pi * progress)));
}

}  // namespace candor::algorithms
