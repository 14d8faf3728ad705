// Rows of a dataset as what supervised fine-tuning trains on: token ids and the tokens that count, as TRL's SFTTrainer
// prepares them (cutting, dropping and packing included), with an account of every row.
//
// Read from a row, in this order: `input_ids` (with `labels`, -100 where nothing counts); `prompt` and `completion`;
// `messages` or ShareGPT's `conversations`; `text`. Plain text ends with the tokenizer's end of sequence; a
// conversation ends as the chat template ends it.
//
// Where this is stricter than TRL: a row from which nothing can be learned before any cut, an assistant's turn that
// cannot be found, a NUL in a text are bad rows, by default errors. Where it is looser: the assistant's turns are found
// in templates without marks too (assistant_tokens.h), and "human" and "gpt" are roles (dialects.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/packing.h"
#include "data/row_account.h"
#include "data/rows.h"
#include "data/sequences.h"
#include "data/text_reader.h"

namespace candor::data {

enum class TruncationMode { kKeepStart, kKeepEnd };
enum class Overlong { kTruncate, kDrop, kError };  // what becomes of a row of more tokens than fit
enum class BadRows { kError, kDrop };              // of a row that cannot be read or from which nothing can be learned

struct SftOptions {
  std::string where = "sft";                      // who asks: "[where] " starts every message
  std::string text_column = "text";               // dataset_text_field
  std::optional<bool> completion_only_loss = {};  // unset: in rows of prompt and completion
  bool assistant_only_loss = false;               // conversations only; together with the former both must hold
  std::optional<int64_t> max_length = 1024;       // tokens of a sequence; unset: what the context holds
  int64_t context_length = 0;                     // tokens that the model can hold; 0: no bound
  TruncationMode truncation_mode = TruncationMode::kKeepStart;
  Overlong overlong = Overlong::kTruncate;
  BadRows bad_rows = BadRows::kError;
  std::optional<PackingStrategy> packing = {};  // bins of max_length tokens; unset: a row is a row
};

// What per_device_train_batch_size counts: a row, or a bin of packed ones. The sequences share nothing: each starts at
// position 0 and sees only itself. (A bin of `wrapped` is one sequence, whatever it holds.)
struct TrainingRow {
  std::vector<Sequence> sequences;
  std::vector<int64_t> row_numbers;  // in the file, 1-based, of what is in it
};

struct SftSet {
  std::string name;               // of the file, for messages
  std::vector<TrainingRow> rows;  // in the file's order, or in that of the bins; never empty
  int64_t max_length = 0;         // the bound that held: the smaller of max_length and the context; 0: none
  RowAccount account;
  std::vector<std::string> notes;  // for the user: what was decided for the whole set
};

// One row as it is before any cut; the first token does not count. Error: a bad row, without its place.
Result<Sequence> read_sft_row(const text::Json& columns, const TextReader& reader, const SftOptions& options);

// Errors, each with file and row: a bad row (see BadRows), one too long under Overlong::kError, no row left. Under
// Overlong::kTruncate a row whose prompt alone fills the bound has nothing left to learn from: it is dropped and
// accounted for, except in a bin, where it stays without counting, as in TRL.
Result<SftSet> load_sft(const Rows& rows, const TextReader& reader, const SftOptions& options);

}  // namespace candor::data
