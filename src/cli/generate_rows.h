// Rows of a file as prompts for `generate`.
#pragma once

#include "cli/sampling_flags.h"
#include "data/prompts.h"
#include "data/row_stream.h"

namespace candor::cli {

struct GeneratePrompt {
  data::Prompt prompt;
  int64_t max_new_tokens = 0;
};

// prompt, messages or text, rendered and encoded; input_ids as they are. Error: names the row.
Result<std::vector<GeneratePrompt>> generate_prompts(data::Rows rows, const Session& session, const Sampling& sampling);

}  // namespace candor::cli
