// The flags that say how completions are drawn, which generate and chat share: a flag goes before the model's
// generation_config.json, that before what is built in.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/session.h"
#include "engine/sampling_options.h"

namespace candor::cli {

struct SamplingFlags {
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int64_t> top_k, max_new_tokens;
  std::vector<std::string> stop, bad_words, logit_bias;
  uint64_t seed = 0;

  void add(CLI::App& app);
};

// What the sampler is told, and how long a completion may be.
struct Sampling {
  engine::SamplingOptions options;
  bool length_is_asked_for = false;   // by a flag: a prompt without room for it is an error
  std::optional<int64_t> max_length;  // of prompt and completion, by the model's file
  std::vector<std::string> notes;     // for the user

  // Of a completion behind that many tokens of prompt, in that context; less than 1 where there is no room.
  int64_t new_tokens(int64_t prompt_tokens, int64_t context) const;
};

// Error: a file or a flag that cannot be followed; `verb` is whose flags they are.
Result<Sampling> resolve_sampling(const SamplingFlags& flags, const Session& session, const std::string& verb);

}  // namespace candor::cli
