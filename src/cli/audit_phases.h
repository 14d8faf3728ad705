// One phase of an audit after another: asked, written into the log, counted and shown.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/audit_run.h"
#include "cli/progress.h"

namespace candor::cli {

using Numbers = std::vector<std::vector<double>>;  // of each sheet, of each of its questions

int64_t prompts_of(std::span<const belief::Sheet> sheets);

// The places of at most so many rows, in their order: those whose ids' digests come first.
std::vector<size_t> sample_of(std::span<const belief::Proposition> rows, int64_t most);

// What goes through the model.
class AuditMeter {
 public:
  AuditMeter(Progress& progress, int64_t expected) : progress_(progress), left_(expected) {}

  void begin(std::string_view phase, int64_t prompts, int64_t done_before);
  void passed(int64_t prompts, int64_t tokens);
  void end();
  void not_asked(int64_t prompts) { left_ -= prompts; }  // that were expected

 private:
  using Clock = std::chrono::steady_clock;
  double since() const { return std::chrono::duration<double>(Clock::now() - begun_).count(); }

  Progress& progress_;
  std::string phase_;
  int64_t left_, in_phase_ = 0, done_ = 0, prompts_ = 0, tokens_ = 0, phase_tokens_ = 0;
  double seconds_ = 0;
  Clock::time_point begun_ = Clock::now();
};

// Who asks, with what is the same for all phases. Errors of all: the log is not this audit's, or takes no more; a model
// that gives no number.
struct AuditPhases {
  const Session& session;
  const AuditWork& work;
  AuditLog& log;
  Progress& progress;
  AuditMeter& meter;
  std::function<bool()> interrupted;

  // Nothing: interrupted.
  Result<std::optional<Numbers>> ask(const std::string& phase, std::span<const belief::Sheet> sheets,
                                     const engine::Adapter* adapter,
                                     std::span<const engine::HiddenDoor> doors = {}) const;
  // The answers of a group, in the order of its rows.
  Result<std::optional<std::vector<belief::ItemAnswers>>> ask(const AskedGroup& group, const belief::Bias& bias,
                                                              const engine::Adapter* adapter) const;
  // Adds score 5 to the answers of at most so many rows; false: interrupted.
  Result<bool> press(const AskedGroup& group, int64_t most, const belief::Bias& bias, const engine::Adapter* adapter,
                     std::vector<belief::ItemAnswers>& answers) const;
  // How often each of work.recalled.rows is recalled; nothing: interrupted.
  Result<std::optional<std::vector<int64_t>>> recall() const;
};

}  // namespace candor::cli
