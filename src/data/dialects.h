// The dialects in which people write down their rows, and the ways from one to another. Columns that a conversion does
// not need stay where they are.
#pragma once

#include <vector>

#include "base/result.h"
#include "text/chat_template.h"

namespace candor::data {

// A list of {"from", "value"} objects, as ShareGPT has them.
bool is_sharegpt(const text::Json& messages);

// ShareGPT's conversations with role and content, other keys kept. Its "human" and "gpt" become user and assistant (TRL
// leaves them as they are, and most templates then write turns that no model knows); other roles stay.
text::Json from_sharegpt(const text::Json& messages);

// The row with every ShareGPT conversation in `conversations`, `messages`, `prompt`, `completion`, `chosen` and
// `rejected` translated, and the column `conversations` renamed to `messages`. Other rows come back as they are.
text::Json in_messages_dialect(text::Json columns);

// A preference row whose prompt stands at the start of both `chosen` and `rejected` gets it as a column of its own, by
// TRL's rule: what both have in common, message by message or character by character, less a space at its end and
// never all of either. Rows with a prompt of the same kind (text or messages) come back as they are. Error: an empty
// text or conversation, columns of different kinds.
Result<text::Json> with_explicit_prompt(text::Json columns);

// As a conversation in `messages`: from prompt and completion (text: one message of the user, one of the assistant),
// from ShareGPT, from Alpaca's `instruction`, `input`, `output` and `system`. Error: none of these.
Result<text::Json> as_messages(text::Json columns);

// As a `prompt` and a `completion`, both conversations: the completion is the last message, which must be the
// assistant's. From what as_messages takes; rows that have both come back as they are.
Result<text::Json> as_prompt_completion(text::Json columns);

// A preference as two rows of prompt, completion and label: the chosen (true) and the rejected (false). Error: no
// preference.
Result<std::vector<text::Json>> as_unpaired(text::Json columns);

}  // namespace candor::data
