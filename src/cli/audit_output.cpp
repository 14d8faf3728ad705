#include "cli/audit_output.h"

#include <fmt/format.h>

#include <optional>

#include "base/atomic_file.h"
#include "belief/audit_compare.h"
#include "belief/audit_json.h"
#include "belief/audit_words.h"
#include "cli/audit_page.h"
#include "cli/terminal.h"
#include "files/run_log.h"

namespace candor::cli {

namespace {

using files::Json;

// How it was asked, beside what was found.
Json asked_json(const AuditInput& input, const AuditAnswers& found) {
  return {{"file", input.name},
          {"controls_file", input.controls_name},
          {"rows_left_out", input.dropped},
          {"bias_truth", found.bias.truth},
          {"bias_question", found.bias.question},
          {"recall_asked", found.recall_asked},
          {"recalled", found.recalled}};
}

void print_lines(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) fmt::print("{}\n", printable(line));
}

}  // namespace

Result<void> show_audit(const belief::AuditResult& result, const AuditInput& input, const AuditWork& work,
                        const AuditAnswers& found, const AuditOutput& output) {
  const std::span<const belief::Proposition> propositions = work.propositions.rows;
  Json json = belief::audit_json(result, propositions);
  json["sentence"] = belief::sentence(result);
  json["asked"] = asked_json(input, found);
  std::optional<belief::AuditComparison> comparison;
  if (output.before) {
    comparison = belief::compare(*output.before, result);
    json["comparison"] = belief::comparison_json(*comparison, result);
  }
  json["probes"] = Json::array();
  for (const belief::ProbeReport& report : found.probes) json["probes"].push_back(belief::probe_json(report));
  if (!found.probes.empty()) json["probe_layer"] = found.probe_layer;
  json["probe_reading"] = belief::probe_reading(found.probes);
  if (!output.folder.empty()) {
    Json page = json;
    page["name"] = input.name;
    TRY(write_file_atomically(output.folder / "audit.html", audit_page(page)));
  }
  if (!output.folder.empty()) TRY(files::write_json_atomically(output.folder / "audit.json", json));
  if (output.json) {
    fmt::print("{}\n", files::json_line(json));
    return {};
  }
  fmt::print("{}\n", printable(belief::sentence(result)));
  if (comparison) fmt::print("{}\n", printable(belief::sentence(*comparison)));
  for (const std::string& note : result.notes) fmt::print("{}\n", printable(note));
  for (const std::string& note : found.notes) fmt::print("{}\n", note);
  fmt::print("\nRecalled freely, often enough to be a control: {} of {}.\n", found.recalled, found.recall_asked);
  print_lines(belief::control_lines(result));
  fmt::print("\n");
  print_lines(belief::topic_lines(result));
  if (!found.probes.empty()) fmt::print("\n");
  print_lines(belief::probe_lines(found.probes, found.probe_layer));
  if (const std::string reading = belief::probe_reading(found.probes); !reading.empty()) fmt::print("  {}\n", reading);
  if (!result.most_dishonest.empty()) fmt::print("\nSaid, and believed least:\n");
  print_lines(belief::dishonest_lines(result, propositions));
  return {};
}

}  // namespace candor::cli
