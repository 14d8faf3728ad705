// UTF-8 and the few character classes that tokenizers ask about.
//
// The classes come from utf8proc's table (Unicode 15 in utf8proc 2.8). Hugging Face's library uses Unicode 16 for most
// of them; only characters that Unicode added since can differ.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace candor::text {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// What stands at one place of a byte string: a character, a maximal subpart of an ill-formed one (Unicode 15.0, section
// 3.9, "U+FFFD Substitution of Maximal Subparts"), or the start of a character that the end of the text cuts off.
struct Utf8Unit {
  enum class Kind { kCharacter, kInvalid, kCutOff } kind;
  size_t length;       // bytes, at least 1
  char32_t character;  // only for kCharacter
};
Utf8Unit utf8_unit(std::string_view text, size_t at);  // at < text.size()

void append_utf8(std::string& out, char32_t character);

// The byte offset of the first byte that belongs to no character.
std::optional<size_t> find_invalid_utf8(std::string_view text);

// Bytes to UTF-8, one U+FFFD per maximal subpart of what is none.
std::string to_valid_utf8(std::string_view bytes);

// As to_valid_utf8, but a character cut off at the end stays in `pending` (at most three bytes); so does the first half
// of an encoded surrogate, which Python's incremental decoder, our oracle, waits for too.
std::string take_valid_utf8(std::string& pending);

// Columns that a terminal gives a character: 0 for marks, 2 for wide ones (property East_Asian_Width W and F).
int display_columns(char32_t c);

bool is_white_space(char32_t c);  // property White_Space
bool is_numeric(char32_t c);      // categories Nd, Nl, No
bool is_mark(char32_t c);         // categories Mn, Mc, Me
bool is_word(char32_t c);         // \w of Unicode TR18: Alphabetic, marks, Nd, Pc, Join_Control
bool is_punctuation(
    char32_t c);  // ASCII symbols and category P as of Unicode 8, as the Punctuation pre-tokenizer has it

}  // namespace candor::text
