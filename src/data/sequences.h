// Rows of text as token ids with the tokens that count: what `score` reads, and later SFT.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/rows.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace candor::data {

struct Sequence {
  std::vector<int32_t> ids;   // at least one
  std::vector<uint8_t> mask;  // 1 counts: the completion, the assistant's turns, or everything but the first token
};

// How text becomes ids: the model's tokenizer, template (may be null) and special tokens.
struct TextReader {
  const text::Tokenizer& tokenizer;
  const text::ChatTemplate* chat_template;
  const text::Json& special_tokens;
};

// A row with `input_ids`, `text`, `prompt` and `completion` (both text, or both messages), or `messages`. No BOS is
// added that the tokenizer would not add. The completion begins where the tokens of the prompt alone and of prompt +
// completion part (TRL's rule); an assistant's turn is what the template marks, or, in a template without marks, what
// its message adds after the generation prompt. `where` opens the message of an error: none of these columns, an id
// that is no integer, text that is no UTF-8, a template that raises.
Result<Sequence> read_sequence(const text::Json& row, const TextReader& reader, std::string_view where);

}  // namespace candor::data
