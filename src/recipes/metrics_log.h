// Where a step's numbers go: a row in metrics.jsonl at every step, and TensorBoard's curves at every logging_steps-th.
#pragma once

#include <cstdint>
#include <filesystem>

#include "algorithms/metrics.h"
#include "files/event_log.h"
#include "files/run_log.h"

namespace candor::recipes {

// A row for metrics.jsonl; counters are written as whole numbers, NaN as null.
files::Json metrics_row(const algorithms::Metrics& metrics);

class MetricsLog {
 public:
  // Both files in the run's folder, cut after step `done`.
  static Result<MetricsLog> resume(const std::filesystem::path& folder, int64_t done, int64_t logging_steps);

  // `metrics` has an entry "step". Curves get it at the first step, every logging_steps-th, the last, and wherever
  // there was an evaluation; under TensorBoard's usual names: "train/loss", and "eval/…" of "eval_…" and "eval/…".
  Result<void> write(const algorithms::Metrics& metrics, bool last_step);
  Result<void> sync();  // before a checkpoint that relies on the rows

 private:
  MetricsLog(files::JsonLines rows, files::EventLog curves, int64_t logging_steps)
      : rows_(std::move(rows)), curves_(std::move(curves)), logging_steps_(logging_steps) {}
  files::JsonLines rows_;
  files::EventLog curves_;
  int64_t logging_steps_;
};

}  // namespace candor::recipes
