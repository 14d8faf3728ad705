// A GGUF file's byte-level BPE tokenizer as Hugging Face's tokenizer.json.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "text/tokenizer.h"

namespace candor::text {

// The text of a tokenizer.json that gives the ids that Tokenizer::from_gguf gives, here and in Hugging Face's library:
// the same splits (SmolLM2's single digits included, which Transformers' own conversion loses), merges, added tokens
// and BOS or EOS around a text. Error: what from_gguf refuses.
Result<std::string> tokenizer_json_of(const GgufVocabulary& vocabulary, std::string_view name);

}  // namespace candor::text
