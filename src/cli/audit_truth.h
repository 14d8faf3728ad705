// Scores 6 and 7 of an audit: is truth written in the hidden states of its statements, and do the answers use it?
#pragma once

#include <vector>

#include "cli/audit_phases.h"

namespace candor::cli {

// Controls that were asked alike.
struct AskedControls {
  AskedGroup group;
  std::vector<belief::ControlKind> kinds;    // of each row
  const engine::Adapter* adapter = nullptr;  // that they were asked under
  std::vector<belief::ItemAnswers> answers;  // of each row
};

// What the states of all statements take, where scores 6 and 7 are run; else 0.
int64_t state_bytes(const AuditWork& work, const files::ModelConfig& config);

// The probe is fitted on recalled and told controls. Adds T to all answers, and to a sample of the propositions' what
// the erasure of truth costs; too few controls: neither, which found.notes says. False: interrupted. Error: as
// AuditPhases.
Result<bool> add_truth(const AuditPhases& phases, std::span<AskedControls> controls, AuditAnswers& found);

}  // namespace candor::cli
