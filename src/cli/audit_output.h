// What `candor audit` prints and writes.
#pragma once

#include <filesystem>
#include <optional>

#include "cli/audit_run.h"

namespace candor::cli {

struct AuditOutput {
  bool json = false;                          // one object on stdout instead of sentences
  std::filesystem::path folder;               // empty: nothing is written
  std::optional<belief::AuditResult> before;  // an earlier audit of the same propositions, to compare with
};

// Error: the folder takes no more.
Result<void> show_audit(const belief::AuditResult& result, const AuditInput& input, const AuditWork& work,
                        const AuditAnswers& found, const AuditOutput& output);

}  // namespace candor::cli
