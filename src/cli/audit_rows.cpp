#include "cli/audit_rows.h"

#include <fmt/format.h>

#include <set>

#include "belief/check.h"

namespace candor::cli {

namespace {

using belief::Proposition;
using belief::PropositionFault;

constexpr size_t kShownFaults = 20;

std::string listed(const std::string& name, const std::vector<PropositionFault>& faults) {
  std::string lines;
  for (size_t i = 0; i < std::min(faults.size(), kShownFaults); ++i) {
    const PropositionFault& fault = faults[i];
    const std::string place = fault.row == 0 ? name : fmt::format("{} row {}", name, fault.row);
    lines += fmt::format("\n  {} [{}]: {}", place, fault.rule, fault.what);
  }
  if (faults.size() > kShownFaults) lines += fmt::format("\n  and {} more", faults.size() - kShownFaults);
  return lines;
}

// The rows of a file that may be used.
Result<std::vector<Proposition>> valid_rows(const std::filesystem::path& path, bool keep_going, AuditInput& input,
                                            std::string& name) {
  belief::Propositions file = TRY(belief::read_propositions(path));
  name = file.name;
  const std::vector<PropositionFault> faults = belief::check_propositions(file);
  if (faults.empty()) return std::move(file.items);
  if (!keep_going)
    return error(
        "[audit] {} breaks {} of the rules of docs/propositions.md, so its answers would say nothing:{}\nMend the "
        "rows, or give --keep_going to leave them out.",
        file.name, faults.size() == 1 ? "one" : fmt::format("{} times some", faults.size()), listed(file.name, faults));
  std::set<int64_t> faulty;
  for (const PropositionFault& fault : faults)
    if (fault.row > 0) faulty.insert(fault.row);
  std::vector<Proposition> kept;
  for (Proposition& item : file.items)
    if (!faulty.contains(item.number)) kept.push_back(std::move(item));
  input.dropped += static_cast<int64_t>(faulty.size());
  input.notes.push_back(fmt::format("{} of {} rows of {} break rules and are left out (candor propositions check {}).",
                                    faulty.size(), file.items.size(), file.name, file.name));
  for (const PropositionFault& fault : faults)
    if (fault.row == 0) input.notes.push_back(fmt::format("{} as a whole [{}]: {}", file.name, fault.rule, fault.what));
  return kept;
}

}  // namespace

Result<AuditInput> read_audit_rows(const std::filesystem::path& propositions, const std::string& controls,
                                   bool keep_going) {
  AuditInput input;
  std::vector<Proposition> rows = TRY(valid_rows(propositions, keep_going, input, input.name));
  if (controls.empty()) {
    input.controls_name = input.name;
    input.rows = belief::keep_controls_apart(rows);
    input.notes.push_back(fmt::format("{} of {} rows of {} are kept apart as controls; --controls FILE takes others.",
                                      input.rows.controls.size(), rows.size(), input.name));
  } else {
    input.rows = { std::move(rows), TRY(valid_rows(controls, keep_going, input, input.controls_name)) };
  }
  if (input.rows.propositions.empty()) return error("[audit] {} leaves no proposition to audit.", input.name);
  TRY(belief::check_apart(input.rows));
  return input;
}

}  // namespace candor::cli
