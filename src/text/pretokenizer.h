// Pre-tokenizers of a tokenizer.json: text to the pieces ("words") that the model encodes one by one.
//
// ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit and Sequences of them. Behind ByteLevel the pieces
// are in the byte alphabet, and a later member of a Sequence sees them so.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/unicode_regex.h"

namespace candor::text {

// What becomes of a match, the delimiter, when a text is split at matches.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct PreTokenizer {
  enum class Kind {
    kSequence,
    kByteLevel,
    kSplit,
    kDigits,
    kPunctuation,
    kWhitespace,             // words and runs of other visible characters
    kWhitespaceSplit,        // what lies between white space
  } kind = Kind::kSequence;  // without parts: the text is one piece
  std::vector<PreTokenizer> parts = {};
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;              // kSplit: what lies between matches is the delimiter
  bool add_prefix_space = false;    // kByteLevel
  std::string literal = {};         // kSplit without a regex
  std::optional<Regex> regex = {};  // kSplit, and kByteLevel with use_regex
};

// GPT-2's own splitting rule, which ByteLevel has built in.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// `config` is the object in tokenizer.json; null gives the pre-tokenizer that does nothing.
Result<PreTokenizer> parse_pre_tokenizer(const nlohmann::json& config, std::string_view where, int depth = 0);

// Splits every piece further. Pieces are valid UTF-8 and not empty, before and after.
Result<void> pre_tokenize(const PreTokenizer& pre_tokenizer, std::vector<std::string>& pieces);

}  // namespace candor::text
