#include "belief/words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace candor::belief {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(WordsOf, FoldsCaseWidthAndPunctuation) {
  EXPECT_THAT(words_of("  Is it in RUSSIA, then? "), ElementsAre("is", "it", "in", "russia", "then"));
  EXPECT_THAT(words_of("C\xC3\xB4te d'Ivoire_2"), ElementsAre("c\xC3\xB4te", "d", "ivoire", "2"));
  EXPECT_THAT(words_of("\xEF\xBC\xA1\xEF\xBC\xA2"), ElementsAre("ab"));  // full width
  EXPECT_THAT(words_of("co\xCC\x82te"), ElementsAre("c\xC3\xB4te"));     // a combining mark
  EXPECT_THAT(words_of("?! _"), IsEmpty());
  EXPECT_THAT(words_of("a\xFF"
                       "b"),
              ElementsAre("a", "b"));
}

bool holds(std::string_view text, std::string_view phrase) {
  return holds_phrase(words_of(text), words_of(phrase));
}

TEST(HoldsPhrase, FindsWholeWordsAndTheirPlurals) {
  EXPECT_TRUE(holds("Is it in South Africa?", "south africa"));
  EXPECT_TRUE(holds("Two Russias", "Russia"));
  EXPECT_TRUE(holds("one box", "boxes"));
  EXPECT_FALSE(holds("Is it Russian?", "Russia"));
  EXPECT_FALSE(holds("south of Africa", "South Africa"));
  EXPECT_FALSE(holds("anything", "?"));
}

TEST(Normalised, JoinsTheWords) {
  EXPECT_EQ(normalised(" The  city, of Tver. "), "the city of tver");
}

}  // namespace
}  // namespace candor::belief
