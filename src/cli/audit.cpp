// candor audit MODEL PROPOSITIONS: of what the model says, how much does it believe?
#include <fmt/format.h>

#include <filesystem>

#include "base/input_file.h"
#include "base/sha256.h"
#include "belief/audit_json.h"
#include "cli/audit_output.h"
#include "cli/audit_parrot.h"
#include "cli/audit_run.h"
#include "cli/audit_truth.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/resumed_rows.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "files/peft_adapter.h"

namespace candor::cli {

namespace {

namespace fs = std::filesystem;

struct AuditFlags {
  ModelOptions model;
  std::string propositions, controls, parrot_adapter, output, before;
  std::string scores = "1,2,3,4";
  AskOptions ask;
  int64_t parrot_steps = 0;
  bool keep_going = false;
};

// "1,2,3" or "all". Error: a number that is no score, or 2 or 3 left out.
Result<belief::AskedScores> scores_of(const std::string& text) {
  std::array<bool, 8> chosen{};
  for (size_t at = 0; at <= text.size() && text != "all"; ++at) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, comma - at);
    if (part.size() != 1 || part[0] < '1' || part[0] > '7')
      return error("[audit] --scores has \"{}\". Give numbers from 1 to 7, as in 1,2,3, or all.", part);
    chosen[static_cast<size_t>(part[0] - '0')] = true;
    at = comma;
  }
  if (text == "all") chosen.fill(true);
  if (!chosen[2] || !chosen[3])
    return error("[audit] --scores {} leaves out {}. What it says (2) and its sub-questions (3) are always needed.",
                 text, chosen[2] ? "3" : "2");
  if (!chosen[1] && (chosen[4] || chosen[5]))
    return error("[audit] --scores {}: scores 4 and 5 are made from score 1. Add it.", text);
  belief::AskedScores scores;
  scores.probability = chosen[1];
  scores.pressure = chosen[5];
  scores.truth = chosen[6];
  scores.use = chosen[7];
  return scores;
}

// An audit of another base's adapter would be of neither.
Result<engine::Adapter> adapter_in(const engine::Context& context, const engine::Model& model, const char* flag,
                                   const std::string& folder) {
  const files::PeftAdapter saved = TRY(files::read_peft_adapter(folder));
  if (const auto same = engine::check_base(model, saved); !same)
    return error("[audit] --{} {}: {}", flag, folder, same.error().message);
  return engine::adapter_from_peft(context, model, saved);
}

// The adapter of a flag, or none.
Result<std::optional<engine::Adapter>> adapter_of(const Session& session, const char* flag, const std::string& folder) {
  if (folder.empty()) return std::optional<engine::Adapter>();
  return std::optional(TRY(adapter_in(session.context, session.model, flag, folder)));
}

Result<void> check_parrot_flags(const AuditFlags& flags) {
  if (flags.parrot_steps == 0) return {};
  if (!flags.parrot_adapter.empty())
    return error("[audit] --parrot_adapter gives a parrot and --parrot_steps trains one. Leave one of them out.");
  if (flags.output.empty()) return error("[audit] --parrot_steps trains an adapter, which needs a folder: give -o.");
  return {};
}

// As the memory's plan counts it; empty: there is none.
MakeAdapter parrot_of(const AuditFlags& flags) {
  if (flags.parrot_steps > 0) return planned_parrot(flags.model);
  if (flags.parrot_adapter.empty()) return {};
  return [folder = flags.parrot_adapter](const engine::Context& context, const engine::Model& model) {
    return adapter_in(context, model, "parrot_adapter", folder);
  };
}

Result<int> run_verb(AuditFlags flags) {
  flags.ask.scores = TRY(scores_of(flags.scores));
  TRY(check_parrot_flags(flags));
  std::optional<belief::AuditResult> before;
  if (!flags.before.empty()) before = TRY(belief::parse_audit(TRY(files::read_json_file(flags.before)), flags.before));
  HeldMeter meter;
  const auto session = TRY(open_files(flags.model.model, flags.model.threads));
  meter.mark("program", "tokenizer");
  const AuditInput input = TRY(read_audit_rows(flags.propositions, flags.controls, flags.keep_going));
  const MakeAdapter planned = parrot_of(flags);
  const AuditWork work = TRY(prepare_audit(*session, input, flags.ask, planned != nullptr));
  meter.mark("data", "questions");
  for (const std::string& note : input.notes) print_note(note);
  std::vector<recipes::HeldBytes> held = meter.held();
  if (const int64_t bytes = state_bytes(work, session->files.config); bytes > 0)
    held.push_back({"data", "hidden states", bytes});
  if (const auto refused = TRY(refuse_inference("audit", *session, flags.model, inference_of(work, planned), held))) {
    print_error(refused->message);
    return static_cast<int>(kUsage);
  }
  if (flags.parrot_steps > 0) {
    if (work.parroted.rows.empty())
      return error("[audit] {} has no false row that a parrot could learn to say.", input.controls_name);
    const auto made = TRY(trained_parrot(flags.model, session->chat_template() != nullptr, work.parroted.rows,
                                         flags.parrot_steps, flags.output));
    if (!made) {
      print_note("interrupted while the parrot was trained; the same command goes on.");
      return static_cast<int>(kInterrupted);
    }
    flags.parrot_adapter = *made;
  }
  TRY(load_weights(*session, flags.model.dtype, flags.model.activations));
  session->adapter = TRY(adapter_of(*session, "adapter", flags.model.adapter));
  const std::optional<engine::Adapter> parrot = TRY(adapter_of(*session, "parrot_adapter", flags.parrot_adapter));
  const fs::path folder = flags.output, file = folder / "audit.json";
  AuditLog log;
  if (!flags.output.empty()) {
    std::error_code code;
    fs::create_directories(folder, code);
    if (code) return error("[audit] {} cannot be made: {}.", folder.string(), code.message());
    files::Json settings = TRY(settings_of_weights(flags.model, *session));
    if (parrot)
      settings["parrot_sha256"] =
          sha256_hex(TRY(read_file(fs::path(flags.parrot_adapter) / "adapter_model.safetensors", uint64_t{4} << 30)));
    settings.update(settings_of(work));
    log = TRY(AuditLog::open(file, settings));
  }
  const auto found = TRY(run_audit(*session, work, parrot ? &*parrot : nullptr, log, catch_interrupts()));
  if (!found) return static_cast<int>(kInterrupted);
  const belief::AuditResult result = belief::audit(work.propositions.rows, found->answers, found->controls);
  TRY(show_audit(result, input, work, *found, {flags.model.json, flags.output, std::move(before)}));
  if (log.journal() != nullptr) log.journal()->remove();
  return static_cast<int>(kOk);
}

}  // namespace

int audit(const Words& words) {
  Options options(
      "audit",
      "Does the model believe what it says? Puts propositions to it with the sub-questions that betray whether they "
      "are held, and controls of which that is known: facts that it recalls freely, falsehoods that it is told to say. "
      "Prints how many it says and how many of those it believes, with a 95% interval; or \"undetermined\", where the "
      "controls cannot be told apart (docs/belief.md).");
  AuditFlags flags;
  CLI::App& app = options.app;
  flags.model.add_model(app);
  app.add_option("PROPOSITIONS", flags.propositions, "a file of propositions (docs/propositions.md)")->required();
  flags.model.add_adapter(app);
  app.add_option("--controls", flags.controls,
                 "another file of propositions, for the controls: true ones with a recall question, false ones, "
                 "fabricated ones (default: every second labelled row of PROPOSITIONS is kept apart for that)");
  app.add_option("--parrot_adapter", flags.parrot_adapter,
                 "a PEFT folder trained on the false controls' sentences alone: one more kind of control. With "
                 "--adapter it should go on from that adapter (candor sft --adapter_name_or_path)");
  app.add_option("--parrot_steps", flags.parrot_steps,
                 "train such a parrot first, so many steps of candor sft, on the model with its --adapter, into the "
                 "folder of -o (default 0: none)")
      ->check(CLI::Range(0, 1 << 20));
  app.add_option(
      "--scores", flags.scores,
      "1 probability, 2 says, 3 sub-questions, 4 coherence, 5 pressure, 6 hidden states, 7 their use; or all (default "
      "1,2,3,4)");
  app.add_option("--sample", flags.ask.sample,
                 "how many propositions, and controls of either sign, scores 5 and 7 take "
                 "(default 100)")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--max_controls", flags.ask.most_controls, "controls of each kind at the most (default 400)")
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("--seed", flags.ask.seed, "of the draws in free recall");
  app.add_option("--before", flags.before,
                 "the audit.json of an earlier audit of these propositions: what has changed");
  app.add_flag("--keep_going", flags.keep_going, "leave rows out that break a rule, instead of refusing the file");
  app.add_option("-o,--output,--output_dir", flags.output,
                 "a folder for audit.json and the page audit.html; interrupted, the same command goes on with what is "
                 "in it");
  flags.model.add_dtype(app);
  flags.model.add_max_memory(app);
  flags.model.add_threads(app);
  flags.model.add_json(app, "one JSON object instead of sentences");
  if (const auto over = options.parse(words)) return *over;
  const auto code = run_verb(std::move(flags));
  return code ? *code : fail(code.error());
}

}  // namespace candor::cli
