// What a training run says while it runs: one line that is rewritten on a terminal, plain lines elsewhere.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

namespace candor::cli {

struct StepStatus {
  int64_t step = 0, steps = 0;  // step counts from 1
  std::optional<double> reward, kl, length_tokens, loss;
  double tokens_per_s = 0, step_time_s = 0;
  int64_t memory_bytes = 0;  // 0: not known
};

// "step 3/20  reward 0.125  kl 0.0021  length 11.2  412 tok/s  1.20 GiB  2m 03s left"
std::string status_line(const StepStatus& status, std::optional<double> seconds_left);
std::string duration_text(double seconds);  // "41s", "2m 03s", "1h 05m"
std::string bytes_text(int64_t bytes);      // "3 KiB", "812 MiB", "1.20 GiB", "5 TiB"

class Progress {
 public:
  // `every`: steps between plain lines (logging_steps); the first and the last step always have one.
  Progress(std::FILE* out, bool terminal, int columns, int64_t every);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void step(const StepStatus& status);
  // A line that stays, above the live one: evaluations, checkpoints, notes. Strangers' text is made printable.
  void say(std::string_view line);
  // What goes on between steps: "sampling", "evaluating 40/100". Seen only on a terminal.
  void doing(std::string_view what);

 private:
  void rewrite(const std::string& line);
  void clear();

  std::FILE* out_;
  bool terminal_;
  int columns_;
  int64_t every_;
  std::string live_;              // what stands on the live line
  std::optional<double> pace_s_;  // moving average of a step's time
};

}  // namespace candor::cli
