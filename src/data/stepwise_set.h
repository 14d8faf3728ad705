// Rows of solutions whose steps are labelled right or wrong, as token ids with the places of the labels: what a process
// reward model trains on, as TRL's PRMTrainer prepares them. Every row is accounted for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/preference_set.h"

namespace candor::data {

// Prompt, then each step followed by the separator; a label stands on the last token of its step's separator.
struct StepwiseRow {
  std::vector<int32_t> ids;     // at least two
  std::vector<int64_t> ends;    // indices into `ids` of tokens with a label, rising, above 0; at least one
  std::vector<uint8_t> labels;  // of those: 1 = a right step
  int64_t row = 0;              // in the file, 1-based
};
using StepwiseSet = PreferenceRows<StepwiseRow>;

struct StepwiseOptions {
  PreferenceOptions rows = {.where = "prm"};  // truncation_mode: the end is cut always
  std::string step_separator = "\n";
  bool last_step_only = false;  // only a row's last step is labelled
};

// The places of a row's labels, of given tokens. max_length: 0 = no bound; what is beyond it is cut.
StepwiseRow place_labels(const std::vector<int32_t>& prompt, const std::vector<std::vector<int32_t>>& steps,
                         const std::vector<int32_t>& separator, const std::vector<uint8_t>& labels, bool last_step_only,
                         int64_t max_length);

// Rows of `prompt` (text), `completions` (a list of texts, the steps) and `labels` (a list of true and false, one for
// each). The prompt begins with the tokenizer's bos_token, where it names one. Errors, each with file and row: a bad
// row, one of which a cut leaves no label, one too long under Overlong::kError, no row left, labels of one kind only.
Result<StepwiseSet> load_stepwise(const Rows& rows, const TextReader& reader, const StepwiseOptions& options);

}  // namespace candor::data
