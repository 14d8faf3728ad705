// Regular expressions as tokenizer.json writes them (Oniguruma's Ruby syntax), run by PCRE2.
//
// The two dialects differ where tokenizers care: \s, \w, \d are Unicode's own classes, \h is a hexadecimal digit, ^ and
// $ are line ends, and a [ inside a class opens a nested class. The pattern is translated; what cannot be translated
// faithfully (set intersection, a nested negated class, {n,m}+, inline options other than i and x) is refused. PCRE2's
// character table (Unicode 14 in PCRE2 10.42) decides \p{...}; Oniguruma's is Unicode 16.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace candor::text {

class Regex {
 public:
  // `where` begins the error message.
  static Result<Regex> compile(std::string_view pattern, std::string_view where);

  // Byte ranges [first, last) of all matches, left to right, without overlap; an empty match directly behind another
  // match does not count. `text` must be valid UTF-8. An error when PCRE2's limit of steps or memory is reached.
  Result<std::vector<std::pair<size_t, size_t>>> find_all(std::string_view text) const;

 private:
  struct Compiled;
  explicit Regex(std::shared_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}
  std::shared_ptr<const Compiled> compiled_;
};

// The same pattern in PCRE2's syntax.
Result<std::string> translate_oniguruma(std::string_view pattern, std::string_view where);

}  // namespace candor::text
