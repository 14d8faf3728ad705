#include "base/nearest_name.h"

#include <gtest/gtest.h>

namespace candor {
namespace {

TEST(EditDistance, CountsEachKindOfEdit) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("beta", "bet"), 1u);
  EXPECT_EQ(edit_distance("beta", "betta"), 1u);
  EXPECT_EQ(edit_distance("beta", "beto"), 1u);
  EXPECT_EQ(edit_distance("beta", "bate"), 2u);      // not neighbours
  EXPECT_EQ(edit_distance("lenght", "length"), 1u);  // neighbours swapped; plain Levenshtein says 2
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("ca", "abc"), 3u);  // optimal string alignment; the unrestricted distance is 2
}

TEST(EditDistance, IsSymmetric) {
  EXPECT_EQ(edit_distance("num_generations", "num_generation"), edit_distance("num_generation", "num_generations"));
  EXPECT_EQ(edit_distance("ab", "ba"), edit_distance("ba", "ab"));
}

TEST(NearestName, FindsTheClosest) {
  const std::vector<std::string> names = {"beta", "learning_rate", "lora_r", "lora_alpha", "epsilon", "epsilon_high"};
  EXPECT_EQ(nearest_name("learning_rat", names), "learning_rate");
  EXPECT_EQ(nearest_name("Learning-Rate", names), "learning_rate");
  EXPECT_EQ(nearest_name("lora_aplha", names), "lora_alpha");
  EXPECT_EQ(nearest_name("epsilon_hi", names), "epsilon_high");
}

TEST(NearestName, TheFirstWinsATieAndAFarOneIsNotSuggested) {
  const std::vector<std::string> names = {"abcx", "abcy"};
  EXPECT_EQ(nearest_name("abcz", names), "abcx");
  EXPECT_EQ(nearest_name("quite_another_thing", names), std::nullopt);
  EXPECT_EQ(nearest_name("abc", std::vector<std::string>{}), std::nullopt);
}

TEST(NearestName, ALongNameCostsLittle) {
  const std::vector<std::string> names = {"beta"};
  EXPECT_EQ(nearest_name(std::string(10'000'000, 'x'), names), std::nullopt);
}

TEST(DidYouMean, IsEmptyWithoutANearName) {
  const std::vector<std::string> names = {"accuracy", "format"};
  EXPECT_EQ(did_you_mean("acuracy", names), " Did you mean \"accuracy\"?");
  EXPECT_EQ(did_you_mean("zzzzzz", names), "");
}

}  // namespace
}  // namespace candor
