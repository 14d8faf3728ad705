// What a Tokenizer holds, however it was read (tokenizer_json.cpp, tokenizer_gguf.cpp).
#pragma once

#include <variant>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_vocabulary.h"

namespace candor::text {

// Every piece is a token or the unknown token.
struct WordLevel {
  std::string unk_token;
};

struct Tokenizer::Impl {
  std::string name;  // of the file, for messages
  AddedTokens added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Vocabulary vocabulary;  // the model's own, without the added tokens that it lacks
  std::variant<Bpe, WordLevel> model;
  std::vector<int32_t> prefix, suffix;  // what the post-processor adds
  Decoder decoder = Decoder::kJoinWithSpaces;
  int32_t id_end = 0;

  // Checks that `token.id` is what the library would give it: the vocabulary's id where that has the content, else the
  // next free one. (The library silently renumbers.)
  Result<void> add_token(AddedToken token, std::string_view where);
};

}  // namespace candor::text
