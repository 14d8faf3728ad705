// Learning-rate schedules under Transformers' names and with its formulas (lr_scheduler_type).
#pragma once

#include <cstdint>

namespace candor::algorithms {

enum class SchedulerType { kConstant, kConstantWithWarmup, kLinear, kCosine };

struct Schedule {
  SchedulerType type = SchedulerType::kLinear;
  double peak = 1e-6;        // learning_rate
  int64_t max_steps = 1;     // optimizer steps of the whole run
  int64_t warmup_steps = 0;  // from 0 upwards in a straight line; the plain constant schedule has no warmup
};

// The rate of optimizer step `step`, counted from 0: with warmup the first step has rate 0. After max_steps linear and
// cosine stay at 0. The same bits on every machine.
double learning_rate(const Schedule& schedule, int64_t step);

}  // namespace candor::algorithms
