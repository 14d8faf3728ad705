#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>

namespace candor::text {

Utf8Unit utf8_unit(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return {Utf8Unit::Kind::kCharacter, 1, lead};
  size_t length = 0;
  unsigned char low = 0x80, high = 0xBF;  // what the second byte may be
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {Utf8Unit::Kind::kInvalid, 1, 0};
  }
  char32_t value = lead & (0xFF >> (length + 1));
  for (size_t k = 1; k < length; ++k) {
    if (at + k == text.size()) return {Utf8Unit::Kind::kCutOff, k, 0};
    const unsigned char next = byte(at + k);
    if (next < low || next > high) return {Utf8Unit::Kind::kInvalid, k, 0};
    value = (value << 6) | (next & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {Utf8Unit::Kind::kCharacter, length, value};
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::optional<size_t> find_invalid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Unit unit = utf8_unit(text, at);
    if (unit.kind != Utf8Unit::Kind::kCharacter) return at;
    at += unit.length;
  }
  return std::nullopt;
}

namespace {

// Converts from the start; returns how many bytes it used: all, or with `hold` all but an end that may go on.
size_t append_valid_utf8(std::string& text, std::string_view bytes, bool hold) {
  size_t at = 0;
  while (at < bytes.size()) {
    const Utf8Unit unit = utf8_unit(bytes, at);
    const std::string_view rest = bytes.substr(at);
    const bool half_surrogate = rest.size() == 2 && rest[0] == '\xED' && unit.kind == Utf8Unit::Kind::kInvalid &&
                                (static_cast<unsigned char>(rest[1]) & 0xC0) == 0x80;
    if (hold && (unit.kind == Utf8Unit::Kind::kCutOff || half_surrogate)) break;
    text += unit.kind == Utf8Unit::Kind::kCharacter ? rest.substr(0, unit.length) : kReplacementCharacter;
    at += unit.length;
  }
  return at;
}

}  // namespace

std::string to_valid_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  append_valid_utf8(text, bytes, false);
  return text;
}

std::string take_valid_utf8(std::string& pending) {
  std::string text;
  pending.erase(0, append_valid_utf8(text, pending, true));
  return text;
}

namespace {
utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}
bool between(char32_t c, char32_t first, char32_t last) {
  return c >= first && c <= last;
}
}  // namespace

int display_columns(char32_t c) {
  return std::max(0, utf8proc_charwidth(static_cast<utf8proc_int32_t>(c)));
}

bool is_white_space(char32_t c) {
  return between(c, 9, 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || between(c, 0x2000, 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return between(c, '0', '9');
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_NO;
}

bool is_mark(char32_t c) {
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_MC || kind == UTF8PROC_CATEGORY_ME;
}

bool is_word(char32_t c) {
  if (c < 0x80) return between(c, 'a', 'z') || between(c, 'A', 'Z') || between(c, '0', '9') || c == '_';
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    case UTF8PROC_CATEGORY_SO:  // the circled and squared letters are Alphabetic
      return between(c, 0x24B6, 0x24E9) || between(c, 0x1F130, 0x1F149) || between(c, 0x1F150, 0x1F169) ||
             between(c, 0x1F170, 0x1F189);
    default:
      return c == 0x200C || c == 0x200D;
  }
}

namespace {
// In category P today, but not yet in the table that the Punctuation pre-tokenizer uses.
constexpr std::pair<char32_t, char32_t> kPunctuationSinceUnicode8[] = {
    {0x61D, 0x61D},     {0x9FD, 0x9FD},     {0xA76, 0xA76},     {0xC77, 0xC77},     {0xC84, 0xC84},
    {0x1B7D, 0x1B7E},   {0x2E43, 0x2E4F},   {0x2E52, 0x2E5D},   {0x10EAD, 0x10EAD}, {0x10F55, 0x10F59},
    {0x10F86, 0x10F89}, {0x1144B, 0x1144F}, {0x1145A, 0x1145B}, {0x1145D, 0x1145D}, {0x11660, 0x1166C},
    {0x116B9, 0x116B9}, {0x1183B, 0x1183B}, {0x11944, 0x11946}, {0x119E2, 0x119E2}, {0x11A3F, 0x11A46},
    {0x11A9A, 0x11A9C}, {0x11A9E, 0x11AA2}, {0x11B00, 0x11B09}, {0x11C41, 0x11C45}, {0x11C70, 0x11C71},
    {0x11EF7, 0x11EF8}, {0x11F43, 0x11F4F}, {0x11FFF, 0x11FFF}, {0x12FF1, 0x12FF2}, {0x16E97, 0x16E9A},
    {0x16FE2, 0x16FE2}, {0x1E95E, 0x1E95F}};
}  // namespace

bool is_punctuation(char32_t c) {
  if (c < 0x80) return between(c, '!', '/') || between(c, ':', '@') || between(c, '[', '`') || between(c, '{', '~');
  if (c == 0x166D || c == 0x111C9) return true;  // moved to other categories since
  const auto kind = category(c);
  if (kind < UTF8PROC_CATEGORY_PC || kind > UTF8PROC_CATEGORY_PO) return false;
  return std::none_of(std::begin(kPunctuationSinceUnicode8), std::end(kPunctuationSinceUnicode8),
                      [&](const auto& range) { return between(c, range.first, range.second); });
}

}  // namespace candor::text
