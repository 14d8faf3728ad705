// candor propositions VERB …: files of propositions, made and checked.
#include <fmt/format.h>

#include <array>
#include <set>

#include "base/nearest_name.h"
#include "cli/exit_code.h"
#include "cli/propositions_verbs.h"
#include "cli/terminal.h"

namespace candor::cli {
namespace {

constexpr std::array kPropositionVerbs = {
    Verb{"check", "PROPOSITIONS", "every rule that a row breaks", propositions_check},
    Verb{"world", "-o FOLDER", "an invented world: propositions, controls, and texts that teach known beliefs",
         propositions_world},
    Verb{"convert", "KIND SOURCE -o OUT", "cities, comparisons and other sources as propositions",
         propositions_convert},
    Verb{"draft", "MODEL STATEMENTS -o OUT", "sub-questions that a model proposes and the validator judges",
         propositions_draft},
    Verb{"repair", "AUDIT PROPOSITIONS -o OUT", "training rows for what is said and not believed", propositions_repair},
};

void print_help() {
  fmt::print("What a model may be audited on (docs/propositions.md).\nUsage: candor propositions VERB ...\n\n");
  for (const Verb& verb : kPropositionVerbs)
    fmt::print("  {:<36}{}\n", fmt::format("{} {}", verb.name, verb.arguments), verb.summary);
  fmt::print("\n  candor propositions VERB --help   what the verb takes\n");
}

}  // namespace

std::vector<std::string> faults_in_brief(const belief::Propositions& propositions) {
  const std::vector<belief::PropositionFault> faults = belief::check_propositions(propositions);
  if (faults.empty()) return {};
  std::set<int64_t> rows;
  for (const belief::PropositionFault& fault : faults)
    if (fault.row > 0) rows.insert(fault.row);
  return {
      fmt::format("{} of {} rows break a rule; the first fault: row {}: {}: {} candor propositions check lists all.",
                  rows.size(), propositions.items.size(), faults[0].row, faults[0].rule, faults[0].what)};
}

int propositions(const Words& words) {
  if (words.empty() || words[0] == "--help" || words[0] == "-h") {
    print_help();
    return words.empty() ? kUsage : kOk;
  }
  std::vector<std::string> names;
  for (const Verb& verb : kPropositionVerbs) {
    if (verb.name == words[0]) return verb.run(Words(words.begin() + 1, words.end()));
    names.emplace_back(verb.name);
  }
  print_error(fmt::format("propositions: unknown verb {}.{} candor propositions --help lists the verbs.",
                          in_quotes(words[0]), did_you_mean(words[0], names)));
  return kUsage;
}

}  // namespace candor::cli
