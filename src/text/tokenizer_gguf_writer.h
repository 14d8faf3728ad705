// Hugging Face's tokenizer.json as the keys of a GGUF file, for byte-level BPE. The way back is
// tokenizer_json_writer.h.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "text/tokenizer.h"

namespace candor::text {

// `tokenizer` was read from `json`; `size` is the number of the model's embeddings, at least tokenizer.size(): ids
// without a token get an unused one. bos_id and eos_id are set where the tokenizer puts them around a text. Error: what
// a GGUF file cannot say (another model than byte-level BPE, a pre-tokenizer without a name there, an added token that
// takes the space beside it, something else than one token before or behind a text), or what would cut texts otherwise.
Result<GgufVocabulary> gguf_vocabulary_of(std::string_view json, const Tokenizer& tokenizer, std::string_view name,
                                          int64_t size);

}  // namespace candor::text
