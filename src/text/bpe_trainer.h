// Learns a byte-level BPE vocabulary from text and writes it as tokenizer.json, which Hugging Face's `tokenizers` reads
// with the same ids.
//
// Words are split as SmolLM2 splits them (single digits, then GPT-2's rule). Each merge takes the pair of neighbours
// that occurs most often, the one of smallest ids where several do, so that the same text gives the same file
// everywhere.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace candor::text {

struct BpeTrainerOptions {
  int64_t vocab_size = 1024;  // special tokens and the 256 bytes included; fewer where the text ends first
  std::vector<std::string> special_tokens;  // ids 0, 1, …
};

// The text of a tokenizer.json. Errors: a vocabulary smaller than special tokens and bytes; a text that is no UTF-8
// (its number, from 1).
Result<std::string> train_bpe(std::span<const std::string> texts, const BpeTrainerOptions& options);

}  // namespace candor::text
