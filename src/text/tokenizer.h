// Text to token ids and back. Knows no model.
//
// A tokenizer is a chain, as in Hugging Face's tokenizer.json: added tokens are cut out, the rest is normalized, split
// into words (pre-tokenizer), each word becomes ids (model), and a post-processor may add special tokens; a decoder
// turns ids into bytes. GGUF files describe the same chain by a few keys (`GgufVocabulary`).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace candor::text {

// What a GGUF file says about its tokenizer (keys tokenizer.ggml.*).
struct GgufVocabulary {
  std::string model;                 // "gpt2" = byte-level BPE
  std::string pre;                   // which pre-tokenizer: "smollm", "gpt-2", "llama-bpe", "qwen2", …
  std::vector<std::string> tokens;   // by id, in the byte alphabet for gpt2
  std::vector<int32_t> token_types;  // 1 normal, 2 unknown, 3 control, 4 user defined, 6 byte; may be empty
  std::vector<std::string> merges;   // "left right"
  std::optional<int32_t> bos_id, eos_id, unk_id, pad_id;
  std::optional<bool> add_bos, add_eos;
};

class Tokenizer {
 public:
  // `name` names the file in error messages.
  static Result<Tokenizer> from_tokenizer_json(std::string_view json, std::string_view name);
  static Result<Tokenizer> from_gguf(const GgufVocabulary& vocabulary, std::string_view name);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  struct EncodeOptions {
    bool add_special_tokens = false;   // what the post-processor adds (BOS, EOS)
    bool parse_special_tokens = true;  // special tokens written in the text become their ids
  };
  // Invalid UTF-8 is an error that names the byte offset.
  Result<std::vector<int32_t>> encode(std::string_view text, const EncodeOptions& options) const;

  struct DecodeOptions {
    bool skip_special_tokens = false;
  };
  // Ids out of range decode to nothing; bytes that are no UTF-8 become U+FFFD, one per maximal subpart.
  std::string decode(const std::vector<int32_t>& ids, const DecodeOptions& options) const;

  int32_t size() const;                                              // one more than the largest id
  std::optional<int32_t> token_to_id(std::string_view token) const;  // as written in the vocabulary
  std::optional<std::string> id_to_token(int32_t id) const;
  bool is_special(int32_t id) const;

 private:
  friend class StreamDecoder;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Gives out text token by token, holding back bytes that may still become a character. The tokenizer must outlive it.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, Tokenizer::DecodeOptions options);
  std::string push(int32_t id);  // the text that is certain now
  std::string flush();           // what the end adds

 private:
  const Tokenizer* tokenizer_;
  Tokenizer::DecodeOptions options_;
  std::string pending_;
  bool first_ = true;
};

}  // namespace candor::text
