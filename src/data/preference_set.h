// Rows of a dataset as what preference losses train on: token ids of a prompt with a chosen and a rejected completion,
// or with one completion that is desirable or not; with an account of every row. Cut as TRL's collators cut: at the
// whole's end (keep_start) or its beginning (keep_end).
//
// Where this is stricter than TRL: a pair whose sides are the same, and a completion of which a cut leaves nothing, are
// bad rows, by default errors. TRL trains on the one without effect and on the other with a loss of nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/row_account.h"
#include "data/rows.h"
#include "data/sft.h"
#include "data/text_reader.h"

namespace candor::data {

// A prompt and its completion in one list of at least two tokens; the first is never predicted, so where the prompt is
// empty (prompt_tokens 0) the completion's first token does not count.
struct Answer {
  std::vector<int32_t> ids;
  int64_t prompt_tokens = 0;  // the completion begins here

  int64_t counted() const { return static_cast<int64_t>(ids.size()) - std::max<int64_t>(prompt_tokens, 1); }
};

struct PreferencePair {
  Answer chosen, rejected;
  int64_t row = 0;    // in the file, 1-based
  double margin = 0;  // by how much a reward model's score of the chosen should be larger: the column `margin`
};

struct LabelledAnswer {
  Answer answer;
  bool desirable = false;
  int64_t row = 0;
};

struct PreferenceOptions {
  std::string where = "dpo";                 // who asks: "[where] " starts every message
  std::optional<int64_t> max_length = 1024;  // tokens of prompt and completion together; unset: what the context holds
  int64_t context_length = 0;                // tokens that the model can hold; 0: no bound
  TruncationMode truncation_mode = TruncationMode::kKeepStart;
  Overlong overlong = Overlong::kTruncate;
  BadRows bad_rows = BadRows::kError;
};

template <typename R>
struct PreferenceRows {
  std::string name;        // of the file, for messages
  std::vector<R> rows;     // in the file's order; never empty
  int64_t max_length = 0;  // the bound that held; 0: none
  RowAccount account;
  std::vector<std::string> notes;  // for the user: what was decided for the whole set
};
using PairSet = PreferenceRows<PreferencePair>;
using LabelledSet = PreferenceRows<LabelledAnswer>;

// Rows of prompt (may be implicit), chosen and rejected, and margin (may be absent); text or conversations. Errors,
// each with file and row: a bad row (see above), one too long under Overlong::kError, no row left.
Result<PairSet> load_pairs(const Rows& rows, const TextReader& reader, const PreferenceOptions& options);

// Rows of prompt, completion and label (true or false, 1 or 0); a row of chosen and rejected becomes two. Errors as
// above, and a label of another kind, or labels of one kind only.
Result<LabelledSet> load_labelled(const Rows& rows, const TextReader& reader, const PreferenceOptions& options);

}  // namespace candor::data
