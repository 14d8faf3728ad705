// Whether a completion has come to a stop string, token by token.
//
// A stop string may begin in one token and end in a later one, and a character may lie across tokens: what is compared
// is the decoded text, special tokens included, of which only the last bytes are kept.
#pragma once

#include <span>
#include <string>

#include "text/tokenizer.h"

namespace candor::engine {

class StopStrings {
 public:
  // `stops` and the tokenizer must outlive it; no stop string is empty.
  StopStrings(const text::Tokenizer& tokenizer, std::span<const std::string> stops);

  // Whether this token completes one of them (it may hold more text behind it).
  bool push(int32_t token);

 private:
  std::span<const std::string> stops_;
  size_t longest_ = 0;  // bytes
  text::StreamDecoder decoder_;
  std::string tail_;
};

}  // namespace candor::engine
