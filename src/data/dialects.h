// The dialects in which people write down conversations, read as TRL's: `messages` of {"role", "content"}.
#pragma once

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

}  // namespace candor::data
