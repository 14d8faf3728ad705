// Where it is known whether the model believes: facts that it recalls freely, and falsehoods that it says because it is
// made to (docs/belief.md). The instrument is fitted and measured on them, so none of them is a proposition too.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "belief/answers.h"
#include "belief/propositions.h"
#include "eval/generation.h"

namespace candor::belief {

struct AuditRows {
  std::vector<Proposition> propositions, controls;
};

// One file for both: what is fabricated, and of the rows with a label every second one (by topic and label, in an order
// that the ids draw), become controls.
AuditRows keep_controls_apart(std::span<const Proposition> rows);

// Error: an id that stands in both.
Result<void> check_apart(const AuditRows& rows);

// Rows that may serve, at most so many of each, in an order that their ids draw.
struct ControlRows {
  std::vector<Proposition> recalled;    // true, with a question for free recall: positive where they are recalled
  std::vector<Proposition> told;        // false: said under a system prompt, or by an adapter that parrots them
  std::vector<Proposition> fabricated;  // about what does not exist: said under a system prompt
};
ControlRows control_rows(std::span<const Proposition> rows, int64_t most);

// Free recall: so many answers to each question, drawn at this temperature; right where one of recall.answers stands in
// them.
inline constexpr int64_t kRecallSamples = 30;
inline constexpr double kRecallTemperature = 0.7;
inline constexpr int64_t kRecallTokens = 24;  // of an answer at the most
bool recalls(const Recall& recall, std::string_view completion);

// How many of kRecallSamples answers to each prompt are right; nothing if it was interrupted. `progressed` counts
// prompts.
std::optional<std::vector<int64_t>> count_recalls(const eval::Subject& subject,
                                                  std::span<const std::vector<int32_t>> prompts,
                                                  std::span<const Proposition> rows, uint64_t seed,
                                                  const engine::SamplingCallbacks& callbacks,
                                                  eval::Progressed<int64_t> progressed = {});
engine::SamplingOptions recall_options(uint64_t seed, std::span<const int32_t> stop_ids);

// 30, 27 to 29, 21 to 26 right answers; fewer are no control.
std::optional<ControlKind> recall_grade(int64_t right);

}  // namespace candor::belief
