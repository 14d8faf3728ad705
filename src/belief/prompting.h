// Questions as token ids: in the model's chat template where it has one, as "Question: … Answer:" where it has none.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/text_reader.h"

namespace candor::belief {

// One turn of a conversation: role "system" (the first one only), "user" or "assistant".
struct Turn {
  std::string role, content;
};

// The prompt that the model answers next; the last turn is the user's. A template that takes no system prompt gets it
// in front of the first question. Error: the template raises, text that is no UTF-8.
Result<std::vector<int32_t>> prompt_ids(const data::TextReader& reader, std::span<const Turn> turns);

// A whole sentence as an answer. Error: as above.
Result<std::vector<int32_t>> answer_ids(const data::TextReader& reader, std::string_view sentence);

// The spellings of an answer as token ids, none of them the beginning of another, so that their probabilities may be
// added. Error: the tokenizer can write none of them.
Result<std::vector<std::vector<int32_t>>> spelling_ids(const data::TextReader& reader, std::string_view answer);

}  // namespace candor::belief
