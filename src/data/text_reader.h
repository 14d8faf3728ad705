// How the text of a row becomes token ids: the model's tokenizer, chat template and special tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace candor::data {

struct TextReader {
  const text::Tokenizer& tokenizer;
  const text::ChatTemplate* chat_template;  // may be null: then conversations are an error
  const text::Json& special_tokens;         // bos_token, eos_token, … for the template, and eos_token for plain text
};

// Token ids of a plain text, with the special tokens (BOS) that the tokenizer adds itself. Error: no UTF-8, no token.
Result<std::vector<int32_t>> encode_plain(const TextReader& reader, std::string_view text);

// Token ids of what a chat template wrote, which holds every special token already. Error: as above.
Result<std::vector<int32_t>> encode_rendered(const TextReader& reader, std::string_view text);

// What plain text must end with, so that a model learns to stop. Error: the tokenizer names no end of sequence.
Result<std::string> end_of_sequence(const TextReader& reader);

// Renders a conversation. `columns` is its row, whose `tools` (a list, or JSON text of one) and `chat_template_kwargs`
// reach the template; `column` names the conversation in messages. Error: no chat template, no message, a message
// without a role, a template that raises.
Result<text::Rendered> render_messages(const TextReader& reader, const text::Json& messages, const text::Json& columns,
                                       std::string_view column, bool add_generation_prompt);

// The text alone of the same.
Result<std::string> rendered_text(const TextReader& reader, const text::Json& messages, const text::Json& columns,
                                  std::string_view column, bool add_generation_prompt);

// Tokens that two id lists have in common at their start.
size_t common_prefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b);

// The names of a row's columns, for messages.
std::string column_names(const text::Json& columns);

}  // namespace candor::data
