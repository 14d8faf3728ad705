#include "cli/audit_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/sha256.h"
#include "belief/questions.h"
#include "cli/progress.h"
#include "cli/terminal.h"

namespace candor::cli {

namespace {

using belief::Control;
using belief::ControlKind;
using belief::ItemAnswers;
using belief::Proposition;
using belief::Sheet;
using Numbers = std::vector<std::vector<double>>;

Result<AskedGroup> group_of(const belief::Asker& asker, const AskOptions& options, const std::string& file,
                            std::string phase, std::vector<Proposition> rows, bool told) {
  AskedGroup group{std::move(phase), std::move(rows), {}, {}};
  for (const Proposition& row : group.rows) {
    group.systems.push_back(told ? belief::told_to_say(row.statement) : std::string());
    auto sheet = asker.item_sheet(row, group.systems.back(), options.scores);
    if (!sheet) return error("[audit] {} row {}: {}", file, row.number, sheet.error().message);
    group.sheets.push_back(std::move(*sheet));
  }
  return group;
}

int64_t prompts_of(std::span<const Sheet> sheets) {
  size_t questions = 0;
  for (const Sheet& sheet : sheets) questions += sheet.size();
  return static_cast<int64_t>(2 * questions);
}

// The places of at most so many rows, in their order: those whose ids' digests come first.
std::vector<size_t> sample_of(std::span<const Proposition> rows, int64_t most) {
  std::vector<size_t> places(rows.size());
  for (size_t i = 0; i < places.size(); ++i) places[i] = i;
  std::stable_sort(places.begin(), places.end(),
                   [&](size_t a, size_t b) { return sha256_hex(rows[a].id) < sha256_hex(rows[b].id); });
  if (static_cast<int64_t>(places.size()) > most) places.resize(static_cast<size_t>(most));
  std::sort(places.begin(), places.end());
  return places;
}

// What goes through the model, counted and shown.
class Meter {
 public:
  Meter(Progress& progress, int64_t expected) : progress_(progress), left_(expected) {}

  void begin(std::string_view phase, int64_t prompts, int64_t done_before) {
    phase_ = phase;
    in_phase_ = prompts;
    done_ = done_before;
    left_ -= done_before;
    phase_tokens_ = 0;
    begun_ = Clock::now();
  }
  void passed(int64_t prompts, int64_t tokens) {
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
  void end() {
    const double seconds = since();
    seconds_ += seconds;
    if (phase_tokens_ > 0)
      progress_.say(fmt::format("candor: {}: {} prompts, {} tokens in {} ({:.0f} tokens/s)", phase_, in_phase_,
                                phase_tokens_, duration_text(seconds),
                                static_cast<double>(phase_tokens_) / std::max(seconds, 1e-9)));
  }
  void not_asked(int64_t prompts) { left_ -= prompts; }  // that were expected

  int64_t prompts() const { return prompts_; }
  int64_t tokens() const { return tokens_; }
  double seconds() const { return seconds_; }

 private:
  using Clock = std::chrono::steady_clock;
  double since() const { return std::chrono::duration<double>(Clock::now() - begun_).count(); }

  Progress& progress_;
  std::string phase_;
  int64_t left_, in_phase_ = 0, done_ = 0, prompts_ = 0, tokens_ = 0, phase_tokens_ = 0;
  double seconds_ = 0;
  Clock::time_point begun_ = Clock::now();
};

// Who asks, with what is the same for all phases.
struct Run {
  const Session& session;
  const AuditWork& work;
  AuditLog& log;
  Progress& progress;
  Meter& meter;
  std::function<bool()> interrupted;

  Result<std::optional<Numbers>> ask(const std::string& phase, std::span<const Sheet> sheets,
                                     const engine::Adapter* adapter) const {
    eval::Progressed<std::vector<double>> progressed;
    progressed.there = TRY(log.begin(phase, sheets.size()));
    for (size_t i = 0; i < progressed.there.size(); ++i)
      if (progressed.there[i].size() != sheets[i].size())
        return error(
            "[audit] {}: row {} of the phase \"{}\" has {} numbers and needs {}. Remove the file to begin anew.",
            log.journal()->path().string(), i + 1, phase, progressed.there[i].size(), sheets[i].size());
    progressed.found = [&](const std::vector<double>& numbers) { log.write(phase, numbers); };
    meter.begin(phase, prompts_of(sheets), prompts_of(sheets.first(progressed.there.size())));
    const eval::Subject subject{session.context, session.model, adapter, session.tokenizer()};
    auto answers = TRY(belief::ask(
        subject, {}, sheets, {interrupted, [&](int64_t prompts, int64_t tokens) { meter.passed(prompts, tokens); }},
        std::move(progressed)));
    TRY(log.written());
    if (answers) meter.end();
    return answers;
  }

  // The answers of a group, in the order of its rows.
  Result<std::optional<std::vector<ItemAnswers>>> ask(const AskedGroup& group, const belief::Bias& bias,
                                                      const engine::Adapter* adapter) const {
    const auto numbers = TRY(ask(group.phase, group.sheets, adapter));
    if (!numbers) return std::optional<std::vector<ItemAnswers>>();
    std::vector<ItemAnswers> answers;
    for (size_t i = 0; i < group.rows.size(); ++i)
      answers.push_back(belief::item_answers(group.rows[i], work.options.scores, (*numbers)[i], bias));
    return std::optional(std::move(answers));
  }

  // Adds score 5 to the answers of at most so many rows; false: interrupted.
  Result<bool> press(const AskedGroup& group, int64_t most, const belief::Bias& bias, const engine::Adapter* adapter,
                     std::vector<ItemAnswers>& answers) const {
    const std::vector<size_t> places = sample_of(group.rows, most);
    std::vector<Sheet> sheets;
    for (const size_t i : places)
      sheets.push_back(TRY(work.asker.pressure_sheet(group.rows[i], group.systems[i], answers[i].log_odds > 0)));
    const auto numbers = TRY(ask(fmt::format("{} under pressure", group.phase), sheets, adapter));
    if (!numbers) return false;
    for (size_t i = 0; i < places.size(); ++i) belief::add_pressure((*numbers)[i], bias, answers[places[i]]);
    return true;
  }

  // How often each of work.recalled.rows is recalled; nothing: interrupted.
  Result<std::optional<std::vector<int64_t>>> recall() const {
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
};

// Those of `group` that are recalled, with their kinds.
AskedGroup recalled_often(const AskedGroup& group, std::span<const int64_t> counts, std::vector<ControlKind>& kinds) {
  AskedGroup often{group.phase, {}, {}, {}};
  for (size_t i = 0; i < group.rows.size(); ++i) {
    const auto kind = belief::recall_grade(counts[i]);
    if (!kind) continue;
    kinds.push_back(*kind);
    often.rows.push_back(group.rows[i]);
    often.systems.push_back(group.systems[i]);
    often.sheets.push_back(group.sheets[i]);
  }
  return often;
}

constexpr int64_t kPressurePrompts = 2 * (1 + belief::kMostPeers + 1 + belief::kSources + 1);

// Of a sample that takes at most so many rows of each of these groups.
int64_t pressed_rows(std::initializer_list<std::pair<const AskedGroup*, int64_t>> groups) {
  int64_t rows = 0;
  for (const auto& [group, most] : groups) rows += std::min(most, static_cast<int64_t>(group->rows.size()));
  return rows;
}

}  // namespace

Result<AuditWork> prepare_audit(const Session& session, const AuditInput& input, const AskOptions& options,
                                bool parrots) {
  const data::TextReader reader{session.tokenizer(), session.chat_template(), session.files.special_tokens};
  belief::Asker asker = TRY(belief::Asker::make(reader, session.files.config.max_positions));
  Sheet bias = TRY(asker.bias_sheet());
  belief::ControlRows controls = belief::control_rows(input.rows.controls, options.most_controls);
  const auto group = [&](const std::string& file, const char* phase, const std::vector<Proposition>& rows, bool told) {
    return group_of(asker, options, file, phase, rows, told);
  };
  AskedGroup propositions = TRY(group(input.name, "propositions", input.rows.propositions, false));
  AskedGroup recalled = TRY(group(input.controls_name, "recalled", controls.recalled, false));
  AskedGroup told = TRY(group(input.controls_name, "told", controls.told, true));
  AskedGroup fabricated = TRY(group(input.controls_name, "fabricated", controls.fabricated, true));
  AskedGroup parroted{"parroted", {}, {}, {}};
  if (parrots) parroted = TRY(group(input.controls_name, "parroted", controls.told, false));
  std::vector<std::vector<int32_t>> prompts;
  for (const Proposition& row : recalled.rows) {
    auto ids = asker.open_prompt(row.recall->question);
    if (ids && static_cast<int64_t>(ids->size()) + belief::kRecallTokens > session.files.config.max_positions)
      ids = error("the recall question takes {} tokens and {} for its answer, and the model's context holds {}.",
                  ids->size(), belief::kRecallTokens, session.files.config.max_positions);
    if (!ids) return error("[audit] {} row {}: {}", input.controls_name, row.number, ids.error().message);
    prompts.push_back(std::move(*ids));
  }
  return AuditWork{
      options,         std::move(asker),      std::move(bias),     std::move(propositions), std::move(recalled),
      std::move(told), std::move(fabricated), std::move(parroted), std::move(prompts)};
}

InferenceWork inference_of(const AuditWork& work) {
  InferenceWork needs;
  const auto add = [&](std::span<const Sheet> sheets) {
    for (engine::ContinuationRequest& request : belief::requests_of(sheets))
      needs.continued.push_back(std::move(request));
  };
  add({&work.bias, 1});
  for (const AskedGroup* group : {&work.propositions, &work.recalled, &work.told, &work.fabricated, &work.parroted}) {
    add(group->sheets);
    if (!work.options.scores.pressure) continue;
    for (const size_t i : sample_of(group->rows, work.options.sample))
      if (const auto sheet = work.asker.pressure_sheet(group->rows[i], group->systems[i], true)) add({&*sheet, 1});
  }
  if (work.recall_prompts.empty()) return needs;
  needs.options = belief::recall_options(work.options.seed, {});
  size_t longest = 1;
  for (const auto& prompt : work.recall_prompts) longest = std::max(longest, prompt.size());
  needs.sampled = {static_cast<int64_t>(work.recall_prompts.size()), belief::kRecallSamples,
                   static_cast<int64_t>(longest), belief::kRecallTokens};
  return needs;
}

files::Json settings_of(const AuditWork& work) {
  Sha256 asked;
  const auto digest = [&](const std::vector<int32_t>& ids) {
    asked.update(fmt::format("{} ", ids.size()));
    asked.update({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(ids[0])});
  };
  for (const AskedGroup* group : {&work.propositions, &work.recalled, &work.told, &work.fabricated, &work.parroted}) {
    asked.update(fmt::format("{} {}\n", group->phase, group->rows.size()));
    for (const Sheet& sheet : group->sheets)
      for (const belief::AskedQuestion& question : sheet)
        for (const engine::ContinuationRequest& request : question.orders) {
          digest(request.prompt);
          for (const auto& continuation : *request.continuations) digest(continuation);
        }
  }
  for (const auto& prompt : work.recall_prompts) digest(prompt);
  const AskOptions& options = work.options;
  return {{"questions_sha256", asked.hex()},       {"probability", options.scores.probability},
          {"pressure", options.scores.pressure},   {"sample", options.sample},
          {"max_controls", options.most_controls}, {"seed", options.seed}};
}

Result<std::optional<AuditAnswers>> run_audit(const Session& session, const AuditWork& work,
                                              const engine::Adapter* parrot, AuditLog& log,
                                              const std::atomic<bool>& stop) {
  const bool presses = work.options.scores.pressure;
  const int64_t some = work.options.sample, half = (some + 1) / 2;
  int64_t expected = prompts_of({&work.bias, 1});
  for (const AskedGroup* group : {&work.propositions, &work.recalled, &work.told, &work.fabricated, &work.parroted})
    expected += prompts_of(group->sheets);
  if (presses)
    expected += kPressurePrompts * pressed_rows({{&work.propositions, some},
                                                 {&work.recalled, some},
                                                 {&work.told, half},
                                                 {&work.fabricated, half},
                                                 {&work.parroted, half}});
  Progress progress(stderr, is_terminal(stderr), terminal_columns(stderr), 1);
  Meter meter(progress, expected);
  const Run run{session, work, log, progress, meter, [&] { return stop.load() || !log.written(); }};
  const auto ended = [&]() -> Result<std::optional<AuditAnswers>> {
    progress.say(log.journal() == nullptr
                     ? "candor: interrupted; the audit is not complete, and nothing of it is written."
                     : fmt::format("candor: interrupted; the answers so far are in {}, and the same command goes on.",
                                   log.journal()->path().string()));
    return std::optional<AuditAnswers>();
  };
  AuditAnswers found;
  const auto bias = TRY(run.ask("bias", {&work.bias, 1}, session.role()));
  if (!bias) return ended();
  found.bias = belief::bias_of((*bias)[0]);
  auto answers = TRY(run.ask(work.propositions, found.bias, session.role()));
  if (!answers) return ended();
  found.answers = std::move(*answers);
  if (presses && !TRY(run.press(work.propositions, some, found.bias, session.role(), found.answers))) return ended();

  // Controls of one group, asked and put under pressure; false: interrupted.
  const auto add_controls = [&](const AskedGroup& group, std::span<const ControlKind> kinds,
                                const belief::Bias& leaning, const engine::Adapter* adapter,
                                int64_t pressed) -> Result<bool> {
    if (group.rows.empty()) return true;
    auto asked = TRY(run.ask(group, leaning, adapter));
    if (!asked) return false;
    if (presses && !TRY(run.press(group, pressed, leaning, adapter, *asked))) return false;
    for (size_t i = 0; i < asked->size(); ++i) found.controls.push_back({kinds[i], std::move((*asked)[i])});
    return true;
  };
  const auto all = [](const AskedGroup& group, ControlKind kind) {
    return std::vector<ControlKind>(group.rows.size(), kind);
  };
  if (!TRY(add_controls(work.told, all(work.told, ControlKind::kInstructed), found.bias, session.role(), half)) ||
      !TRY(add_controls(work.fabricated, all(work.fabricated, ControlKind::kFabricated), found.bias, session.role(),
                        half)))
    return ended();
  const auto counts = TRY(run.recall());
  if (!counts) return ended();
  std::vector<ControlKind> kinds;
  const AskedGroup often = recalled_often(work.recalled, *counts, kinds);
  found.recall_asked = static_cast<int64_t>(work.recalled.rows.size());
  found.recalled = static_cast<int64_t>(often.rows.size());
  meter.not_asked(prompts_of(work.recalled.sheets) - prompts_of(often.sheets));
  if (!TRY(add_controls(often, kinds, found.bias, session.role(), some))) return ended();
  if (parrot != nullptr) {
    const auto leaning = TRY(run.ask("bias of the parrot", {&work.bias, 1}, parrot));
    if (!leaning) return ended();
    if (!TRY(add_controls(work.parroted, all(work.parroted, ControlKind::kParroted), belief::bias_of((*leaning)[0]),
                          parrot, half)))
      return ended();
  }
  found.prompts = meter.prompts();
  found.tokens = meter.tokens();
  found.seconds = meter.seconds();
  return std::optional(std::move(found));
}

}  // namespace candor::cli
