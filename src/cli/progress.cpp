#include "cli/progress.h"

#include <fmt/format.h>

#include <cmath>

#include "cli/terminal.h"

namespace candor::cli {

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const auto whole = static_cast<int64_t>(std::llround(std::min(seconds, 1e12)));
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  return fmt::format("{}h {:02}m", whole / 3600, whole / 60 % 60);
}

std::string bytes_text(int64_t bytes) {
  const double mebibytes = static_cast<double>(bytes) / (1 << 20);
  if (bytes < 1 << 20) return fmt::format("{} KiB", (bytes + 1023) / 1024);
  if (mebibytes < 1024) return fmt::format("{:.0f} MiB", mebibytes);
  return mebibytes < 0x1p20 ? fmt::format("{:.2f} GiB", mebibytes / 1024)
                            : fmt::format("{:.0f} TiB", mebibytes / 0x1p20);
}

std::string status_line(const StepStatus& status, std::optional<double> seconds_left) {
  std::string line = fmt::format("step {}/{}", status.step, status.steps);
  if (status.reward) line += fmt::format("  reward {:.3f}", *status.reward);
  if (status.loss) line += fmt::format("  loss {:.4f}", *status.loss);
  if (status.kl) line += fmt::format("  kl {:.4f}", *status.kl);
  if (status.length_tokens) line += fmt::format("  length {:.1f}", *status.length_tokens);
  line += fmt::format("  {:.0f} tok/s", status.tokens_per_s);
  if (status.memory_bytes > 0) line += "  " + bytes_text(status.memory_bytes);
  if (seconds_left) line += fmt::format("  {} left", duration_text(*seconds_left));
  return line;
}

Progress::Progress(std::FILE* out, bool terminal, int columns, int64_t every)
    : out_(out), terminal_(terminal), columns_(columns), every_(every) {}

Progress::~Progress() {
  if (terminal_ && !live_.empty()) fmt::print(out_, "\n");
}

void Progress::step(const StepStatus& status) {
  pace_s_ = pace_s_ ? 0.8 * *pace_s_ + 0.2 * status.step_time_s : status.step_time_s;
  const double left = *pace_s_ * static_cast<double>(status.steps - status.step);
  const std::string line = status_line(status, left);
  if (terminal_) {
    rewrite(line);
  } else if (status.step == 1 || status.step == status.steps || status.step % every_ == 0) {
    fmt::print(out_, "{}\n", line);
    std::fflush(out_);
  }
}

void Progress::say(std::string_view line) {
  const std::string kept = live_;
  clear();
  fmt::print(out_, "{}\n", printable(line));
  if (!kept.empty()) rewrite(kept);
  std::fflush(out_);
}

void Progress::doing(std::string_view what) {
  if (terminal_) rewrite(std::string(what));
}

void Progress::rewrite(const std::string& line) {
  live_ = line;
  const size_t room = columns_ > 1 ? static_cast<size_t>(columns_ - 1) : 1;
  fmt::print(out_, "\r\x1b[K{}", one_line(line, room));
  std::fflush(out_);
}

void Progress::clear() {
  if (terminal_ && !live_.empty()) fmt::print(out_, "\r\x1b[K");
  live_.clear();
}

}  // namespace candor::cli
