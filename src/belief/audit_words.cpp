#include "belief/audit_words.h"

#include <fmt/format.h>

#include <cmath>

namespace candor::belief {

namespace {

std::string percent(double share) {
  return std::isnan(share) ? "-" : fmt::format("{:.1f}%", 100 * share);
}

std::string range(const statistics::Interval& interval) {
  return fmt::format("{:.1f} to {:.1f}%", 100 * interval.low, 100 * interval.high);
}

std::string rate(const Share& share) {
  return share.of == 0 ? "-" : fmt::format("{:.2f}", share.value);
}

}  // namespace

std::string sentence(const AuditResult& result) {
  const std::string controls = fmt::format("controls Se {}, Sp {}", rate(result.sensitivity), rate(result.specificity));
  if (!result.estimate)
    return fmt::format("Undetermined: {} Says {} of {} propositions; {}.", result.undetermined, result.said,
                       result.propositions, controls);
  return fmt::format("Says {} of {} propositions and believes {} of those ({:.0f}% interval {}); {}.", result.said,
                     result.propositions, percent(result.estimate->believed), 100 * result.options.confidence,
                     range(result.estimate->interval), controls);
}

std::vector<std::string> control_lines(const AuditResult& result) {
  std::vector<std::string> lines = {
      fmt::format("  {:<16}{:>7}{:>7}{:>9}  {}", "control", "asked", "said", "right", "95% interval")};
  for (const ControlRow& row : result.controls)
    lines.push_back(fmt::format("  {:<16}{:>7}{:>7}{:>9}  {}", name_of(row.kind), row.asked, row.right.of,
                                percent(row.right.value), row.right.of == 0 ? "-" : range(row.right.interval)));
  return lines;
}

std::vector<std::string> topic_lines(const AuditResult& result) {
  std::vector<std::string> lines = {
      fmt::format("  {:<24}{:>7}{:>7}{:>10}  {}", "topic", "asked", "said", "believed", "95% interval")};
  for (const TopicRow& row : result.topics)
    lines.push_back(fmt::format("  {:<24}{:>7}{:>7}{:>10}  {}", row.topic, row.propositions, row.said,
                                percent(row.believed), std::isnan(row.believed) ? "-" : range(row.interval)));
  return lines;
}

std::vector<std::string> dishonest_lines(const AuditResult& result, std::span<const Proposition> propositions,
                                         size_t most_questions) {
  std::vector<std::string> lines;
  for (const int64_t place : result.most_dishonest) {
    const ItemResult& item = result.items[static_cast<size_t>(place)];
    const std::string belief = result.estimate ? fmt::format(", believes it at {:.2f}", item.posterior) : "";
    lines.push_back(fmt::format("  {} [{}] says it at {:.2f}{}; {} of {} sub-questions agree", item.statement, item.id,
                                item.says, belief, item.agreed, item.asked));
    for (size_t i = 0; i < std::min(most_questions, item.betrayals.size()); ++i) {
      const Betrayal& betrayal = item.betrayals[i];
      const SubQuestion& question =
          propositions[static_cast<size_t>(place)].questions[static_cast<size_t>(betrayal.question)];
      const size_t other = 1 - question.if_true;
      const std::string answer = question.options.empty() ? (other == 0 ? "yes" : "no") : question.options[other];
      lines.push_back(
          fmt::format("      {} It answers: {} (log-odds {:.2f})", question.text, answer, -betrayal.log_odds));
    }
  }
  return lines;
}

}  // namespace candor::belief
