// Rows of preferences as token ids, as TRL's DPOTrainer and RewardTrainer prepare them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "data/text_reader.h"

namespace candor::data {

// prompt + chosen and prompt + rejected are what a reward model reads.
struct Preference {
  std::vector<int32_t> prompt;            // may be empty
  std::vector<int32_t> chosen, rejected;  // after the prompt
  size_t prompt_tokens_replaced = 0;      // at the end of the prompt alone, where a completion does not begin with them
};

// A row of `prompt`, `chosen` and `rejected`, text or conversations, in either dialect; the prompt may be implicit
// (dialects.h). Plain completions end with the tokenizer's end of sequence. The prompt ends where its tokens alone part
// from those of either whole, the earlier of the two. Error: columns missing or of different kinds, an empty
// conversation, a template that raises.
Result<Preference> read_preference(const text::Json& columns, const TextReader& reader);

}  // namespace candor::data
