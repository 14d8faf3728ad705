// The phases of `candor audit`: what is asked, of whom, and what comes back. docs/belief.md says what each is for.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "belief/asking.h"
#include "belief/audit.h"
#include "belief/controls.h"
#include "belief/truth_probe.h"
#include "cli/audit_log.h"
#include "cli/audit_rows.h"
#include "cli/inference_memory.h"

namespace candor::cli {

struct AskOptions {
  belief::AskedScores scores;
  int64_t sample = 100;         // propositions, and controls of either sign, for scores 5 to 7
  int64_t most_controls = 400;  // of each kind that is asked for
  uint64_t seed = 0;            // of free recall
};

// Rows that are asked alike.
struct AskedGroup {
  std::string phase;
  std::vector<belief::Proposition> rows;
  std::vector<std::string> systems;             // of each row; empty: none
  std::vector<belief::Sheet> sheets;            // of each row
  std::vector<std::vector<int32_t>> sentences;  // statement and negation of each row, where scores 6 and 7 are run
};

// All that can be known before the weights. The session must outlive it.
struct AuditWork {
  AskOptions options;
  belief::Asker asker;
  belief::Sheet bias;
  AskedGroup propositions;
  AskedGroup recalled;  // of which those that are recalled become controls
  AskedGroup told, fabricated;
  AskedGroup parroted;  // for an adapter that says them
  std::vector<std::vector<int32_t>> recall_prompts;
};

// Error, naming file and row: what the template or the tokenizer refuses, a question beyond the model's context.
Result<AuditWork> prepare_audit(const Session& session, const AuditInput& input, const AskOptions& options,
                                bool parrots);

// What it holds at once. parrot: makes the adapter that work.parroted is asked of; empty: there is none.
InferenceWork inference_of(const AuditWork& work, MakeAdapter parrot);
// What the answers depend on besides the weights.
files::Json settings_of(const AuditWork& work);

struct AuditAnswers {
  belief::Bias bias;
  std::vector<belief::ItemAnswers> answers;  // of work.propositions.rows
  std::vector<belief::Control> controls;
  std::vector<belief::ProbeReport> probes;  // of score 6
  int64_t probe_layer = 0;
  std::vector<std::string> notes;          // what was asked for and could not be done
  int64_t recall_asked = 0, recalled = 0;  // how many could be recalled, and how many were, often enough
};

// parrot: an adapter for work.parroted; may be null. Nothing: interrupted. Shows its progress on a terminal, and on
// stderr what each phase took. Error: the log is not this audit's, or takes no more; a model that gives no number.
Result<std::optional<AuditAnswers>> run_audit(const Session& session, const AuditWork& work,
                                              const engine::Adapter* parrot, AuditLog& log,
                                              const std::atomic<bool>& stop);

}  // namespace candor::cli
