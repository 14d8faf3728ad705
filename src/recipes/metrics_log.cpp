#include "recipes/metrics_log.h"

#include <chrono>

namespace candor::recipes {

namespace {

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

files::Json metrics_row(const algorithms::Metrics& metrics) {
  files::Json row = files::Json::object();
  for (const algorithms::Metric& metric : metrics) {
    if (metric.name == "step" || metric.name == "num_tokens")
      row[metric.name] = static_cast<int64_t>(metric.value);
    else
      row[metric.name] = metric.value;
  }
  return row;
}

Result<MetricsLog> MetricsLog::resume(const std::filesystem::path& folder, int64_t done, int64_t logging_steps) {
  files::JsonLines rows = TRY(files::JsonLines::resume(folder / "metrics.jsonl", done));
  files::EventLog curves = TRY(files::EventLog::resume(folder, done, seconds_since_1970()));
  return MetricsLog(std::move(rows), std::move(curves), logging_steps);
}

Result<void> MetricsLog::write(const algorithms::Metrics& metrics, bool last_step) {
  TRY(rows_.write(metrics_row(metrics)));
  files::ScalarEvent event;
  event.wall_time = seconds_since_1970();
  bool evaluated = false;
  for (const algorithms::Metric& metric : metrics) {
    if (metric.name == "step") {
      event.step = static_cast<int64_t>(metric.value);
      continue;
    }
    const bool eval = metric.name.starts_with("eval/") || metric.name.starts_with("eval_");
    evaluated = evaluated || eval;
    event.scalars.push_back({eval ? "eval/" + metric.name.substr(5) : "train/" + metric.name, metric.value});
  }
  if (event.step != 1 && event.step % logging_steps_ != 0 && !last_step && !evaluated) return {};
  return curves_.write(event);
}

Result<void> MetricsLog::sync() {
  return rows_.sync();
}

}  // namespace candor::recipes
