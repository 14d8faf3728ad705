#include "cli/audit_phases.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/sha256.h"

namespace candor::cli {

using belief::ItemAnswers;
using belief::Proposition;
using belief::Sheet;

int64_t prompts_of(std::span<const Sheet> sheets) {
  size_t questions = 0;
  for (const Sheet& sheet : sheets) questions += sheet.size();
  return static_cast<int64_t>(2 * questions);
}

std::vector<size_t> sample_of(std::span<const Proposition> rows, int64_t most) {
  std::vector<size_t> places(rows.size());
  for (size_t i = 0; i < places.size(); ++i) places[i] = i;
  std::stable_sort(places.begin(), places.end(),
                   [&](size_t a, size_t b) { return sha256_hex(rows[a].id) < sha256_hex(rows[b].id); });
  if (static_cast<int64_t>(places.size()) > most) places.resize(static_cast<size_t>(most));
  std::sort(places.begin(), places.end());
  return places;
}

void AuditMeter::begin(std::string_view phase, int64_t prompts, int64_t done_before) {
  phase_ = phase;
  in_phase_ = prompts;
  done_ = done_before;
  left_ -= done_before;
  phase_tokens_ = 0;
  begun_ = Clock::now();
}

void AuditMeter::passed(int64_t prompts, int64_t tokens) {
  done_ += prompts;
  left_ -= prompts;
  prompts_ += prompts;
  tokens_ += tokens;
  phase_tokens_ += tokens;
  const double seconds = seconds_ + since();
  const double each = seconds / static_cast<double>(prompts_);
  progress_.doing(fmt::format("{}: prompt {} of {}, {:.0f} tokens/s, {} left", phase_, done_, in_phase_,
                              static_cast<double>(tokens_) / std::max(seconds, 1e-9),
                              duration_text(each * static_cast<double>(std::max<int64_t>(left_, 0)))));
}

void AuditMeter::end() {
  const double seconds = since();
  seconds_ += seconds;
  if (phase_tokens_ > 0)
    progress_.say(fmt::format("candor: {}: {} prompts, {} tokens in {} ({:.0f} tokens/s)", phase_, in_phase_,
                              phase_tokens_, duration_text(seconds),
                              static_cast<double>(phase_tokens_) / std::max(seconds, 1e-9)));
}

Result<std::optional<Numbers>> AuditPhases::ask(const std::string& phase, std::span<const Sheet> sheets,
                                                const engine::Adapter* adapter,
                                                std::span<const engine::HiddenDoor> doors) const {
  eval::Progressed<std::vector<double>> progressed;
  progressed.there = TRY(log.begin(phase, sheets.size()));
  for (size_t i = 0; i < progressed.there.size(); ++i)
    if (progressed.there[i].size() != sheets[i].size())
      return error("[audit] {}: row {} of the phase \"{}\" has {} numbers and needs {}. Remove the file to begin anew.",
                   log.journal()->path().string(), i + 1, phase, progressed.there[i].size(), sheets[i].size());
  progressed.found = [&](const std::vector<double>& numbers) { log.write(phase, numbers); };
  meter.begin(phase, prompts_of(sheets), prompts_of(sheets.first(progressed.there.size())));
  const eval::Subject subject{session.context, session.model, adapter, session.tokenizer()};
  auto answers = TRY(belief::ask(subject, doors, sheets,
                                 {interrupted, [&](int64_t prompts, int64_t tokens) { meter.passed(prompts, tokens); }},
                                 std::move(progressed)));
  TRY(log.written());
  if (answers) meter.end();
  return answers;
}

Result<std::optional<std::vector<ItemAnswers>>> AuditPhases::ask(const AskedGroup& group, const belief::Bias& bias,
                                                                 const engine::Adapter* adapter) const {
  const auto numbers = TRY(ask(group.phase, group.sheets, adapter));
  if (!numbers) return std::optional<std::vector<ItemAnswers>>();
  std::vector<ItemAnswers> answers;
  for (size_t i = 0; i < group.rows.size(); ++i)
    answers.push_back(belief::item_answers(group.rows[i], work.options.scores, (*numbers)[i], bias));
  return std::optional(std::move(answers));
}

Result<bool> AuditPhases::press(const AskedGroup& group, int64_t most, const belief::Bias& bias,
                                const engine::Adapter* adapter, std::vector<ItemAnswers>& answers) const {
  const std::vector<size_t> places = sample_of(group.rows, most);
  std::vector<Sheet> sheets;
  for (const size_t i : places)
    sheets.push_back(TRY(work.asker.pressure_sheet(group.rows[i], group.systems[i], answers[i].log_odds > 0)));
  const auto numbers = TRY(ask(fmt::format("{} under pressure", group.phase), sheets, adapter));
  if (!numbers) return false;
  for (size_t i = 0; i < places.size(); ++i) belief::add_pressure((*numbers)[i], bias, answers[places[i]]);
  return true;
}

Result<std::optional<std::vector<int64_t>>> AuditPhases::recall() const {
  const std::string phase = "recall";
  const std::vector<Proposition>& rows = work.recalled.rows;
  eval::Progressed<int64_t> progressed;
  for (const std::vector<double>& right : TRY(log.begin(phase, rows.size()))) {
    if (right.size() != 1 || !(right[0] >= 0 && right[0] <= belief::kRecallSamples))
      return error("[audit] {}: a row of the phase \"{}\" is no count. Remove the file to begin anew.",
                   log.journal()->path().string(), phase);
    progressed.there.push_back(static_cast<int64_t>(right[0]));
  }
  auto done = static_cast<int64_t>(progressed.there.size());
  progressed.found = [&](const int64_t& right) {
    log.write(phase, {static_cast<double>(right)});
    progress.doing(fmt::format("free recall: question {} of {}", ++done, rows.size()));
  };
  const eval::Subject subject{session.context, session.model, session.role(), session.tokenizer()};
  const auto counts = belief::count_recalls(subject, work.recall_prompts, rows, work.options.seed,
                                            {.progress = {}, .interrupted = interrupted}, std::move(progressed));
  TRY(log.written());
  return counts;
}

}  // namespace candor::cli
