// generation_config.json: how a model's makers mean it to be sampled.
//
// Only `generate` and `chat` follow it (a flag goes before it); training and evaluation do not, as in TRL. The tokens
// that end a completion are not here: open_model joins them to the model's own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "files/json_file.h"

namespace candor::files {

struct GenerationConfig {
  std::string name;  // of the file; empty where there is none
  std::optional<bool> do_sample;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k, max_new_tokens;
  std::optional<int64_t> max_length;            // of prompt and completion
  std::vector<std::vector<int32_t>> bad_words;  // bad_words_ids and, each alone, suppress_tokens
  std::vector<std::string> stop_strings;
  std::vector<std::string>
      not_supported;  // "num_beams 4": what would change the result in Transformers and cannot here
};

// Keys that are null, unknown or without influence on the tokens are passed over. Error: no object, or a value of the
// wrong type (names file and key). Whether a number is in its range is for engine::check_sampling to say.
Result<GenerationConfig> generation_config_from_json(const Json& json, const std::string& name);

// Of the model at `path`: a directory's generation_config.json; nothing set for a directory without, or a GGUF file.
Result<GenerationConfig> read_generation_config(const std::filesystem::path& path);

}  // namespace candor::files
