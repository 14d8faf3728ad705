// The answer in a completion, and whether it is the right one.
//
// Numbers are compared by value and exactly, as decimals: 1,000 = 1000 = 1000.0 = 1e3, and 0.1 is not
// 0.10000000000000001.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "rewards/regex.h"
#include "text/chat_template.h"

namespace candor::rewards {

// Where the answer stands in a completion:
//   last_number   the last number
//   boxed         inside the last \boxed{…}
//   gsm8k         after the first "####": the first number on that line, else the line
//   exact         the whole completion, without white space at its ends
//   regex:…       the last match: its first group if it has one, else all of it
enum class Extraction { kLastNumber, kBoxed, kGsm8k, kExact, kRegex };

struct AnswerExtractor {
  Extraction extraction = Extraction::kLastNumber;
  std::optional<Regex> regex;  // for kRegex
};

// From the name as a user writes it. Error: an unknown one (with the nearest), a bad regular expression.
Result<AnswerExtractor> make_extractor(std::string_view name);

// The answer, or nothing where the text holds none. Error: only from a regular expression that gave up.
Result<std::optional<std::string>> extract_answer(std::string_view text, const AnswerExtractor& extractor);

// The right answer as a row gives it (`answer`, else `solution`): text after "####" or inside \boxed{…} if it holds
// one, all of it otherwise; a JSON number as written. nullopt: the column is null, nobody knows the answer. Errors: the
// row has neither column, the value is no text or number, it is empty, or the extraction is last_number and it holds no
// number.
Result<std::optional<std::string>> gold_answer(const text::Json& row, const AnswerExtractor& extractor);

// Equal as numbers if both are numbers ($, %, white space and a final full stop put aside), else as trimmed text.
bool same_answer(std::string_view a, std::string_view b);

// A decimal number as sign, digits without zeros at either end, and the power of ten of the last digit; zero is "" and
// 0.
struct Decimal {
  bool negative = false;
  std::string digits;
  int64_t exponent = 0;
  bool operator==(const Decimal&) const = default;
};

// The whole text as a number: sign (-, +, U+2212), digits with or without thousands commas, fraction, exponent.
std::optional<Decimal> parse_decimal(std::string_view text);

// The last number in the text, as written there. A minus after a digit, a letter or a closing bracket is an operator:
// the last number of "16-3" is 3.
std::optional<std::string> last_number(std::string_view text);

}  // namespace candor::rewards
