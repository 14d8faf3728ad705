// candor propositions check PROPOSITIONS: every rule that a row breaks.
#include <fmt/format.h>

#include <set>

#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/propositions_verbs.h"
#include "cli/terminal.h"
#include "data/write_rows.h"

namespace candor::cli {
namespace {

using text::Json;

struct Counts {
  size_t questions = 0, rows_at_fault = 0, labelled = 0, true_ones = 0, fabricated = 0;
};

Counts counts_of(const belief::Propositions& propositions, const std::vector<belief::PropositionFault>& faults) {
  Counts counts;
  for (const belief::Proposition& item : propositions.items) {
    counts.questions += item.questions.size();
    counts.labelled += item.label.has_value() ? 1 : 0;
    counts.true_ones += item.label.value_or(false) ? 1 : 0;
    counts.fabricated += item.fabricated ? 1 : 0;
  }
  std::set<int64_t> rows;
  for (const belief::PropositionFault& fault : faults)
    if (fault.row > 0) rows.insert(fault.row);
  counts.rows_at_fault = rows.size();
  return counts;
}

void print_json(const belief::Propositions& propositions, const std::vector<belief::PropositionFault>& faults,
                const std::vector<std::string>& notes, const Counts& counts) {
  Json list = Json::array();
  for (const belief::PropositionFault& fault : faults)
    list.push_back({{"row", fault.row}, {"rule", fault.rule}, {"fault", fault.what}});
  const Json out = {{"file", printable(propositions.name)},
                    {"propositions", propositions.items.size()},
                    {"questions", counts.questions},
                    {"labelled", counts.labelled},
                    {"true", counts.true_ones},
                    {"fabricated", counts.fabricated},
                    {"rows_at_fault", counts.rows_at_fault},
                    {"faults", list},
                    {"notes", notes}};
  fmt::print("{}\n", data::json_line(out));
}

Result<int> run_check(const std::string& path, bool json) {
  const belief::Propositions propositions = TRY(belief::read_propositions(path));
  const std::vector<belief::PropositionFault> faults = belief::check_propositions(propositions);
  const std::vector<std::string> notes = belief::notes_on(propositions);
  const Counts counts = counts_of(propositions, faults);
  const int code = faults.empty() ? kOk : kFailed;
  if (json) {
    print_json(propositions, faults, notes, counts);
    return code;
  }
  for (const belief::PropositionFault& fault : faults)
    fmt::print("{}{}: {}: {}\n", one_line(propositions.name, 200),
               fault.row > 0 ? fmt::format(" row {}", fault.row) : "", fault.rule, one_line(fault.what, 400));
  fmt::print(
      "{}: {} propositions ({} true, {} false, {} without a label, {} of them fabricated), {} sub-questions: {}\n",
      printable(propositions.name), propositions.items.size(), counts.true_ones, counts.labelled - counts.true_ones,
      propositions.items.size() - counts.labelled, counts.fabricated, counts.questions,
      faults.empty() ? "all well" : fmt::format("{} faults in {} rows", faults.size(), counts.rows_at_fault));
  for (const std::string& note : notes) print_note(note);
  return code;
}

}  // namespace

int propositions_check(const Words& words) {
  Options options("propositions check",
                  "Checks a file of propositions against every rule and lists what breaks one; the exit code is 1 if "
                  "anything does.");
  std::string path;
  ModelOptions model;
  options.app.add_option("PROPOSITIONS", path, kPropositionsHelp)->required();
  model.add_json(options.app, "one JSON object instead");
  if (const auto over = options.parse(words)) return *over;
  const auto code = run_check(path, model.json);
  return code ? *code : fail(code.error());
}

}  // namespace candor::cli
