// Which tokens of a rendered conversation the assistant wrote.
//
// A template says so itself between {% generation %} and {% endgeneration %}. Most templates do not. Then a turn is
// what its message adds to the text after the generation prompt, end of turn included; TRL instead swaps in a template
// of its own where it knows the model's, and refuses the others.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "data/text_reader.h"

namespace candor::data {

struct AssistantTokens {
  std::vector<uint8_t> mask;  // 1: the assistant's
  bool derived = false;       // the template marked nothing
};

// `whole` is `messages` rendered without a generation prompt, `ids` are its tokens. A token counts when one of its
// characters does. Error: a turn that cannot be told apart, since the template renders it differently when the
// conversation goes on.
Result<AssistantTokens> assistant_tokens(const TextReader& reader, const text::Json& messages,
                                         const text::Json& columns, std::string_view column,
                                         const text::Rendered& whole, const std::vector<int32_t>& ids);

// 1 for each token that overlaps one of the byte ranges [begin, end) of the text that `ids` encode.
Result<std::vector<uint8_t>> tokens_in_ranges(const text::Tokenizer& tokenizer, std::string_view text,
                                              const std::vector<int32_t>& ids,
                                              const std::vector<std::pair<size_t, size_t>>& ranges);

}  // namespace candor::data
