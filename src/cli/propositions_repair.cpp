// candor propositions repair AUDIT.json PROPOSITIONS -o ROWS: training rows for what is said and not believed.
#include <fmt/format.h>

#include <filesystem>

#include "belief/repair.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/propositions_verbs.h"
#include "cli/terminal.h"
#include "data/write_rows.h"

namespace candor::cli {
namespace {

struct RepairWords {
  std::string audit, propositions, out, manifest, held_back;
};

Result<void> run_repair(const RepairWords& words) {
  for (const std::string& path : {words.out, words.manifest, words.held_back})
    if (!path.empty()) TRY(data::check_output(path));
  const data::Rows audit = TRY(data::read_rows(words.audit));
  const auto ids = belief::said_not_believed(audit.rows[0].columns);
  if (!ids) return error("{} In {}.", ids.error().message, words.audit);
  const belief::Repair made = TRY(belief::repair(TRY(belief::read_propositions(words.propositions)), *ids));
  TRY(data::write_rows(made.rows, words.out));
  data::Rows manifest{"manifest", {}};
  for (const text::Json& row : made.manifest) manifest.rows.push_back({row, 0, 0});
  TRY(data::write_rows(manifest, words.manifest));
  if (!words.held_back.empty()) TRY(belief::write_propositions(made.held_back, words.held_back));
  fmt::print("{}: {} rows that teach {} propositions; which questions train and which are left stands in {}\n",
             printable(words.out), made.rows.rows.size(), made.manifest.size(), printable(words.manifest));
  if (const std::string why = belief::undetermined(audit.rows[0].columns); !why.empty())
    print_note(fmt::format("that audit is undetermined, so which propositions are believed is a guess. {}", why));
  for (const std::string& note : made.notes) print_note(note);
  if (!words.held_back.empty())
    for (const std::string& note : faults_in_brief({words.held_back, made.held_back})) print_note(note);
  return {};
}

}  // namespace

int propositions_repair(const Words& words) {
  Options options(
      "propositions repair",
      "Training rows for candor sft from what an audit found said and not believed: consequences, contrasts "
      "and uses, not the sentence once more. Half of the sub-questions trains; the other half is left to "
      "the next audit.");
  RepairWords repair;
  options.app.add_option("AUDIT", repair.audit, "the audit.json of candor audit")->required();
  options.app.add_option("PROPOSITIONS", repair.propositions, "the file that was audited")->required();
  options.app.add_option("-o,--output", repair.out, "the new file of rows, .jsonl")->required();
  options.app.add_option("--manifest", repair.manifest,
                         "a new file that says which questions train (default: ROWS with .manifest.jsonl)");
  options.app.add_option("--held_back", repair.held_back,
                         "a new file: the propositions with the questions that are left, for the next audit");
  if (const auto over = options.parse(words)) return *over;
  if (repair.manifest.empty())
    repair.manifest = std::filesystem::path(repair.out).replace_extension(".manifest.jsonl").string();
  const auto done = run_repair(repair);
  return done ? static_cast<int>(kOk) : fail(done.error());
}

}  // namespace candor::cli
