#include "belief/words.h"

#include <algorithm>

#include "text/normalizer.h"
#include "text/unicode.h"

namespace candor::belief {
namespace {

std::string folded(std::string_view text) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) {
    std::string lower(text);
    for (char& c : lower)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return lower;
  }
  const text::Normalizer normalizer{
      .parts = {{.kind = text::Normalizer::Kind::kNfkc}, {.kind = text::Normalizer::Kind::kLowercase}}};
  std::string valid = text::to_valid_utf8(text);
  auto folded = text::normalize(normalizer, valid);
  return folded ? *std::move(folded) : valid;
}

bool is_plural_of(std::string_view plural, std::string_view word) {
  if (!plural.starts_with(word)) return false;
  const std::string_view ending = plural.substr(word.size());
  return ending == "s" || ending == "es";
}

bool same_word(const std::string& a, const std::string& b) {
  return a == b || is_plural_of(a, b) || is_plural_of(b, a);
}

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  const std::string bytes = folded(text);
  std::vector<std::string> words;
  bool inside = false;
  for (size_t at = 0; at < bytes.size();) {
    const text::Utf8Unit unit = text::utf8_unit(bytes, at);
    const bool word =
        unit.kind == text::Utf8Unit::Kind::kCharacter && text::is_word(unit.character) && unit.character != U'_';
    if (word && !inside) words.emplace_back();
    if (word) words.back().append(bytes, at, unit.length);
    inside = word;
    at += unit.length;
  }
  return words;
}

std::string normalised(std::string_view text) {
  std::string joined;
  for (const std::string& word : words_of(text)) {
    if (!joined.empty()) joined += ' ';
    joined += word;
  }
  return joined;
}

bool holds_phrase(std::span<const std::string> text, std::span<const std::string> phrase) {
  if (phrase.empty()) return false;
  return std::search(text.begin(), text.end(), phrase.begin(), phrase.end(), same_word) != text.end();
}

}  // namespace candor::belief
