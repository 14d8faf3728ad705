// Rows as distillation reads them: a prompt, which student and teacher may see differently, and a completion.
#pragma once

#include <string_view>

#include "base/result.h"
#include "data/rows.h"

namespace candor::data {

// Every conversation in `messages` (or ShareGPT's) as a `prompt` and a `completion`, its last message, which must be
// the assistant's, as TRL's GKD reads it. Rows that have both, or only text or token ids, stay as they are. Error: the
// row, and why it has no completion. `where` opens the message, here and below.
Result<Rows> completion_rows(Rows rows, std::string_view where);

// The rows as a teacher sees them that is told more: `text` as the system message of a conversation, before what its
// own system message says; or in front of a prompt that is plain text. Error: a row without a column `prompt`.
Result<Rows> with_teacher_prompt(Rows rows, std::string_view text, std::string_view where);

}  // namespace candor::data
