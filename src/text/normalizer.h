// Normalizers of a tokenizer.json: text to text, before it is split.
//
// NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace and Sequences of them.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/unicode_regex.h"

namespace candor::text {

struct Normalizer {
  enum class Kind {
    kSequence,
    kNfc,
    kNfd,
    kNfkc,
    kNfkd,
    kLowercase,
    kStripAccents,
    kStrip,
    kPrepend,
    kReplace,
  } kind = Kind::kSequence;            // without parts: the text as it is
  std::vector<Normalizer> parts = {};  // kSequence
  bool strip_left = false, strip_right = false;
  std::string literal = {};         // kReplace without a regex: what is replaced
  std::optional<Regex> regex = {};  // kReplace
  std::string content = {};         // kReplace: by what; kPrepend: what
};

// `config` is the object in tokenizer.json; null gives the normalizer that does nothing.
Result<Normalizer> parse_normalizer(const nlohmann::json& config, std::string_view where, int depth = 0);

// `text` must be valid UTF-8, and so is the result. Lowercase is per character: a final sigma is no exception.
Result<std::string> normalize(const Normalizer& normalizer, std::string text);

}  // namespace candor::text
