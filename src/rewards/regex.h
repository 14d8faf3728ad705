// Regular expressions from a recipe, on text that a model wrote: PCRE2 with limits, since both sides are strangers'.
//
// Syntax and meaning as in Python's `re` for what the two share: `.` stops at a line break unless (?s) says otherwise,
// \d, \w and \s know Unicode.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace candor::rewards {

class Regex {
 public:
  // Error: where the pattern is wrong.
  static Result<Regex> compile(std::string_view pattern);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  // Whether the whole text matches. Error (both): the match ran into the limits, which says nothing about the text.
  Result<bool> matches_all(std::string_view text) const;

  // The last match, searching from the left: its first group if the pattern has one, else all of it.
  Result<std::optional<std::string>> last_match(std::string_view text) const;

 private:
  struct Impl;
  explicit Regex(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace candor::rewards
