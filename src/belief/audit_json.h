// An audit as JSON, everything of it, and back as far as a comparison and a repair need it.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "belief/audit.h"
#include "belief/audit_compare.h"
#include "belief/truth_probe.h"
#include "files/run_log.h"

namespace candor::belief {

// Names stay as they are; numbers that are not known are null. "believed", "interval", "good_liar_rate" are null where
// the audit is undetermined. An item's "betrayals" carry the sub-questions themselves. propositions: those of the
// audit.
files::Json audit_json(const AuditResult& result, std::span<const Proposition> propositions);

// Reads what audit_json wrote: counts, sensitivity and specificity, estimate, and of the items all but gaps and
// betrayals. Errors name `name` (the file) and the key.
Result<AuditResult> parse_audit(const files::Json& json, std::string_view name);

files::Json comparison_json(const AuditComparison& comparison, const AuditResult& after);

// For "probes" of the audit's page.
files::Json probe_json(const ProbeReport& report);

}  // namespace candor::belief
