// Texts as their words, in which case, punctuation and the width of characters no longer count: how a question is found
// to name what it must not, and how a recalled answer is compared with the expected one.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace candor::belief {

// Letters, marks and digits that stand together, after NFKC and lower case: "Côte d'Ivoire" is côte, d, ivoire. Bytes
// that are no UTF-8 count as U+FFFD.
std::vector<std::string> words_of(std::string_view text);

// The words joined by single spaces: equal where two texts say the same but for case, punctuation and spaces.
std::string normalised(std::string_view text);

// Whether `phrase` stands in `text`, word after word; a word and its plural in -s or -es are one. An empty phrase
// stands nowhere.
bool holds_phrase(std::span<const std::string> text, std::span<const std::string> phrase);

}  // namespace candor::belief
