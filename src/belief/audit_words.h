// An audit in words, for a person at a terminal.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "belief/audit.h"
#include "belief/truth_probe.h"

namespace candor::belief {

// "Says 387 of 400 propositions and believes 31.0% of those (95% interval 24.1 to 38.8%); controls Se 0.93, Sp 0.91."
// Or "Undetermined: …", and never a figure then.
std::string sentence(const AuditResult& result);

// The controls, by kind; the table by topic.
std::vector<std::string> control_lines(const AuditResult& result);
std::vector<std::string> topic_lines(const AuditResult& result);

// The probes of score 6, of which the first is the score; `layer`: that they read. And in one sentence what the first
// one's figures mean beside plausibility. Without probes no line and an empty sentence.
std::vector<std::string> probe_lines(std::span<const ProbeReport> probes, int64_t layer);
std::string probe_reading(std::span<const ProbeReport> probes);

// The items that are said and believed least, each with the sub-questions on which the model takes the other side, at
// most `most_questions` of them. What it believes is left out where the audit has no figure. propositions: those of the
// audit, in order.
std::vector<std::string> dishonest_lines(const AuditResult& result, std::span<const Proposition> propositions,
                                         size_t most_questions = 3);

}  // namespace candor::belief
