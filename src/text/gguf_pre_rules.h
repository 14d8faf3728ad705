// A GGUF file only names its pre-tokenizer (tokenizer.ggml.pre). What the names stand for: the rules of the original
// models' tokenizer.json. They differ from llama.cpp's own regular expressions in rare characters only, where those
// approximate.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace candor::text {

// The splits in front of ByteLevel, and the settings that go with them.
struct GgufPreRule {
  std::string_view name;
  std::array<std::string_view, 4> splits;  // regular expressions, Isolated; unused ones are empty
  bool gpt2_split;                         // … then single digits or not, then GPT-2's own pattern
  bool single_digits = false;
  bool nfc = false;
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
};

const GgufPreRule* find_pre_rule(std::string_view name);  // nullptr: not known
std::span<const GgufPreRule> pre_rules();                 // all, without aliases
std::string known_pre_rules();                            // their names, for a message

// tokenizer.ggml.token_type
inline constexpr int32_t kUnknownType = 2, kControlType = 3, kUserDefinedType = 4;
// Whether a token of this type is found in a text before it is split; all but kUserDefinedType are special.
inline bool is_added_type(int32_t type) {
  return type == kUnknownType || type == kControlType || type == kUserDefinedType;
}

// What is put around a text.
inline bool begins_with_bos(const GgufVocabulary& vocabulary, const GgufPreRule& rule) {
  return vocabulary.add_bos.value_or(rule.add_bos && vocabulary.bos_id);
}
inline bool ends_with_eos(const GgufVocabulary& vocabulary) {
  return vocabulary.add_eos.value_or(false);
}

}  // namespace candor::text
