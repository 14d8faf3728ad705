#include "cli/audit_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/sha256.h"
#include "belief/questions.h"
#include "cli/audit_phases.h"
#include "cli/audit_truth.h"
#include "cli/terminal.h"

namespace candor::cli {

namespace {

using belief::ControlKind;
using belief::Proposition;
using belief::Sheet;

Result<AskedGroup> group_of(const belief::Asker& asker, const AskOptions& options, const std::string& file,
                            std::string phase, std::vector<Proposition> rows, bool told) {
  AskedGroup group{std::move(phase), std::move(rows), {}, {}, {}};
  for (const Proposition& row : group.rows) {
    group.systems.push_back(told ? belief::told_to_say(row.statement) : std::string());
    auto sheet = asker.item_sheet(row, group.systems.back(), options.scores);
    if (!sheet) return error("[audit] {} row {}: {}", file, row.number, sheet.error().message);
    group.sheets.push_back(std::move(*sheet));
    if (!options.scores.truth && !options.scores.use) continue;
    for (const std::string& sentence : {row.statement, row.negation}) {
      auto ids = asker.sentence_ids(sentence);
      if (!ids) return error("[audit] {} row {}: {}", file, row.number, ids.error().message);
      group.sentences.push_back(std::move(*ids));
    }
  }
  return group;
}

// Those of `group` that are recalled, with their kinds.
AskedGroup recalled_often(const AskedGroup& group, std::span<const int64_t> counts, std::vector<ControlKind>& kinds) {
  AskedGroup often{group.phase, {}, {}, {}, {}};
  for (size_t i = 0; i < group.rows.size(); ++i) {
    const auto kind = belief::recall_grade(counts[i]);
    if (!kind) continue;
    kinds.push_back(*kind);
    often.rows.push_back(group.rows[i]);
    often.systems.push_back(group.systems[i]);
    often.sheets.push_back(group.sheets[i]);
    if (!group.sentences.empty())
      often.sentences.insert(often.sentences.end(), {group.sentences[2 * i], group.sentences[2 * i + 1]});
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
  AskedGroup parroted{"parroted", {}, {}, {}, {}};
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

InferenceWork inference_of(const AuditWork& work, MakeAdapter parrot) {
  InferenceWork needs;
  if (parrot) needs.others.push_back(std::move(parrot));
  const auto add = [&](std::span<const Sheet> sheets) {
    for (engine::ContinuationRequest& request : belief::requests_of(sheets))
      needs.continued.push_back(std::move(request));
  };
  add({&work.bias, 1});
  for (const AskedGroup* group : {&work.propositions, &work.recalled, &work.told, &work.fabricated, &work.parroted}) {
    add(group->sheets);
    for (const auto& sentence : group->sentences) needs.scored.push_back(static_cast<int64_t>(sentence.size()));
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
  AuditMeter meter(progress, expected);
  const AuditPhases run{session, work, log, progress, meter, [&] { return stop.load() || !log.written(); }};
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
  found.bias.truth += belief::centre(found.answers);
  if (presses && !TRY(run.press(work.propositions, some, found.bias, session.role(), found.answers))) return ended();

  std::vector<AskedControls> asked;
  // Asks one group of controls and puts it under pressure; false: interrupted.
  const auto ask_controls = [&](AskedControls controls, belief::Bias leaning, int64_t pressed) -> Result<bool> {
    if (controls.group.rows.empty()) return true;
    auto given = TRY(run.ask(controls.group, leaning, controls.adapter));
    if (!given) return false;
    if (parrot != nullptr && controls.adapter == parrot) leaning.truth += belief::centre(*given);
    if (presses && !TRY(run.press(controls.group, pressed, leaning, controls.adapter, *given))) return false;
    controls.answers = std::move(*given);
    asked.push_back(std::move(controls));
    return true;
  };
  const auto all = [](const AskedGroup& group, ControlKind kind, const engine::Adapter* adapter) {
    return AskedControls{group, std::vector<ControlKind>(group.rows.size(), kind), adapter, {}};
  };
  const engine::Adapter* role = session.role();
  if (!TRY(ask_controls(all(work.told, ControlKind::kInstructed, role), found.bias, half)) ||
      !TRY(ask_controls(all(work.fabricated, ControlKind::kFabricated, role), found.bias, half)))
    return ended();
  const auto counts = TRY(run.recall());
  if (!counts) return ended();
  AskedControls often{{}, {}, role, {}};
  often.group = recalled_often(work.recalled, *counts, often.kinds);
  found.recall_asked = static_cast<int64_t>(work.recalled.rows.size());
  found.recalled = static_cast<int64_t>(often.group.rows.size());
  meter.not_asked(prompts_of(work.recalled.sheets) - prompts_of(often.group.sheets));
  if (!TRY(ask_controls(std::move(often), found.bias, some))) return ended();
  if (parrot != nullptr) {
    const auto leaning = TRY(run.ask("bias of the parrot", {&work.bias, 1}, parrot));
    if (!leaning) return ended();
    if (!TRY(ask_controls(all(work.parroted, ControlKind::kParroted, parrot), belief::bias_of((*leaning)[0]), half)))
      return ended();
  }
  if ((work.options.scores.truth || work.options.scores.use) && !TRY(add_truth(run, asked, found))) return ended();
  for (AskedControls& controls : asked)
    for (size_t i = 0; i < controls.kinds.size(); ++i)
      found.controls.push_back({controls.kinds[i], std::move(controls.answers[i])});
  return std::optional(std::move(found));
}

}  // namespace candor::cli
