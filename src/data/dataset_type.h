// Which of TRL's dataset types a row is, and what is wrong with it as one of them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "data/rows.h"
#include "data/text_reader.h"

namespace candor::data {

enum class DatasetType {
  kTokens,            // input_ids
  kLanguageModeling,  // text, messages, or ShareGPT's conversations
  kPromptOnly,        // prompt
  kPromptCompletion,  // prompt, completion
  kPreference,        // chosen, rejected, and prompt unless it is implicit
  kUnpaired,          // prompt, completion, label
  kAlpaca             // instruction, output, and perhaps input, system: no recipe reads it before `data convert`
};

std::string_view name_of(DatasetType type);               // "language_modeling", "prompt_only", …
Result<DatasetType> dataset_type(std::string_view name);  // error: names them all

std::optional<DatasetType> type_of(const text::Json& columns);  // by the columns it has

// The type of most rows, the earlier one where two have as many. Error: no row has the columns of any type.
Result<DatasetType> type_of(const Rows& rows);

// "plain", "conversational" or "sharegpt": how the text columns of a row are written.
std::string_view dialect_of(const text::Json& columns);

// What is wrong with a row as one of `type`, each fault one sentence; empty where it is well: columns that are missing
// or of another kind, empty texts and conversations, messages without role or content, roles that no template knows, no
// message of the assistant, a preference without a difference, a label that is not true or false, a NUL character.
std::vector<std::string> row_faults(const text::Json& columns, DatasetType type);

// The row's tokens in training: of the longest sequence where it makes several, end of sequence included. Error: what
// the tokenizer or the chat template refuses.
Result<int64_t> count_tokens(const text::Json& columns, DatasetType type, const TextReader& reader);

}  // namespace candor::data
