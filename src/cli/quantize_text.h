// The text that a model is calibrated on, or compared on, as token sequences.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/context.h"
#include "files/model_files.h"

namespace candor::cli {

struct TokenText {
  std::vector<std::vector<int32_t>> ids;
  std::vector<std::vector<uint8_t>> masks;  // 1 counts; never the first token of a sequence
  int64_t tokens() const;
};

// `path`: plain text (.txt), or rows that `candor score` reads. Longer texts are cut into sequences of `length` tokens;
// reading ends with `most_tokens`. `flag` names the file's option in messages. Error: a file that cannot be read, that
// holds fewer than `least_tokens` tokens, or a model without a tokenizer.
struct TextOptions {
  std::string flag;
  int64_t length = 512, most_tokens = 0, least_tokens = 1;
};
Result<TokenText> read_token_text(const files::ModelFiles& model, const std::string& path, const TextOptions& options);

// Text that the model itself writes, so that calibration needs no data (Liu et al., arXiv 2305.17888, section 2.1):
// each sequence begins with a token drawn uniformly from the vocabulary and goes on at temperature 1. Nothing where it
// was interrupted. Error: the model cannot be loaded.
Result<TokenText> sampled_text(const engine::Context& context, const files::ModelFiles& model,
                               const TextOptions& options, uint64_t seed, const std::function<bool()>& interrupted);

}  // namespace candor::cli
