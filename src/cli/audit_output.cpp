#include "cli/audit_output.h"

#include <fmt/format.h>

#include <cmath>

#include "belief/audit_words.h"
#include "cli/terminal.h"
#include "files/run_log.h"

namespace candor::cli {

namespace {

using files::Json;

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

Json interval_json(const statistics::Interval& interval) {
  return {interval.low, interval.high};
}

Json share_json(const belief::Share& share) {
  return {{"count", share.count},
          {"of", share.of},
          {"value", number(share.value)},
          {"interval", interval_json(share.interval)}};
}

Json item_json(const belief::ItemResult& item, const belief::Proposition& proposition) {
  Json betrayals = Json::array();
  for (const belief::Betrayal& betrayal : item.betrayals)
    betrayals.push_back({{"question", proposition.questions[static_cast<size_t>(betrayal.question)].text},
                         {"log_odds", betrayal.log_odds}});
  return {{"id", item.id},
          {"topic", item.topic},
          {"statement", item.statement},
          {"says", number(item.says)},
          {"said", item.said},
          {"probability", number(item.probability)},
          {"posterior", item.posterior},
          {"believed", item.believed},
          {"asked", item.asked},
          {"agreed", item.agreed},
          {"coherence", number(item.coherence)},
          {"robustness", number(item.robustness)},
          {"betrayals", std::move(betrayals)}};
}

Json audit_json(const belief::AuditResult& result, const AuditInput& input, const AuditWork& work,
                const AuditAnswers& found) {
  Json json = {{"sentence", belief::sentence(result)},
               {"propositions", result.propositions},
               {"said", result.said},
               {"called_believed", result.called},
               {"all_agree", result.all_agree},
               {"most_agree", result.most_agree},
               {"believed", Json()},
               {"interval", Json()},
               {"good_liar_rate", Json()},
               {"undetermined", result.undetermined},
               {"sensitivity", share_json(result.sensitivity)},
               {"specificity", share_json(result.specificity)},
               {"controls", Json::array()},
               {"topics", Json::array()},
               {"items", Json::array()}};
  if (result.estimate) {
    json["believed"] = result.estimate->believed;
    json["interval"] = interval_json(result.estimate->interval);
    json["good_liar_rate"] = result.estimate->good_liar_rate();
  }
  for (const belief::ControlRow& row : result.controls)
    json["controls"].push_back(
        {{"kind", belief::name_of(row.kind)}, {"asked", row.asked}, {"right", share_json(row.right)}});
  for (const belief::TopicRow& row : result.topics)
    json["topics"].push_back({{"topic", row.topic},
                              {"propositions", row.propositions},
                              {"said", row.said},
                              {"called_believed", row.called},
                              {"believed", number(row.believed)}});
  for (size_t i = 0; i < result.items.size(); ++i)
    json["items"].push_back(item_json(result.items[i], work.propositions.rows[i]));
  json["asked"] = {{"file", input.name},
                   {"controls_file", input.controls_name},
                   {"rows_left_out", input.dropped},
                   {"bias_truth", found.bias.truth},
                   {"bias_question", found.bias.question},
                   {"recall_asked", found.recall_asked},
                   {"recalled", found.recalled}};
  return json;
}

void print_lines(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) fmt::print("{}\n", printable(line));
}

}  // namespace

Result<void> show_audit(const belief::AuditResult& result, const AuditInput& input, const AuditWork& work,
                        const AuditAnswers& found, const AuditOutput& output) {
  const Json json = audit_json(result, input, work, found);
  if (!output.folder.empty()) TRY(files::write_json_atomically(output.folder / "audit.json", json));
  if (output.json) {
    fmt::print("{}\n", files::json_line(json));
    return {};
  }
  fmt::print("{}\n", printable(belief::sentence(result)));
  for (const std::string& note : result.notes) fmt::print("{}\n", printable(note));
  fmt::print("\nRecalled freely, often enough to be a control: {} of {}.\n", found.recalled, found.recall_asked);
  print_lines(belief::control_lines(result));
  fmt::print("\n");
  print_lines(belief::topic_lines(result));
  if (!result.most_dishonest.empty()) fmt::print("\nSaid, and believed least:\n");
  print_lines(belief::dishonest_lines(result, work.propositions.rows));
  return {};
}

}  // namespace candor::cli
