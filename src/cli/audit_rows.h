// The propositions and controls of an audit, read and validated before a weight is.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "belief/controls.h"
#include "belief/propositions.h"

namespace candor::cli {

struct AuditInput {
  std::string name, controls_name;  // of the files; the same where there is one
  belief::AuditRows rows;
  int64_t dropped = 0;             // faulty rows, with keep_going
  std::vector<std::string> notes;  // for the user
};

// controls: a file, or empty: some of the propositions are kept apart for that. Error: what the validator finds, all of
// it, unless keep_going drops those rows; an id in both files; no proposition left.
Result<AuditInput> read_audit_rows(const std::filesystem::path& propositions, const std::string& controls,
                                   bool keep_going);

}  // namespace candor::cli
