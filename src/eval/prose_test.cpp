#include "eval/prose.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <sstream>
#include <string>

namespace candor::eval {
namespace {

TEST(ProseParagraphs, AreProseOfTheStatedLength) {
  const auto paragraphs = prose_paragraphs();
  ASSERT_EQ(paragraphs.size(), 12u);
  EXPECT_EQ(std::set<std::string_view>(paragraphs.begin(), paragraphs.end()).size(), 12u);
  for (const std::string_view paragraph : paragraphs) {
    std::istringstream words{std::string(paragraph)};
    int count = 0;
    for (std::string word; words >> word;) ++count;
    EXPECT_GE(count, 80) << paragraph;
    EXPECT_LE(count, 120) << paragraph;
    EXPECT_EQ(paragraph.find_first_of("0123456789+=\n"), std::string_view::npos) << "no sums, no layout";
    EXPECT_EQ(paragraph.find("  "), std::string_view::npos) << paragraph;
  }
}

TEST(CompareProse, WeighsByTokens) {
  // 10 nats on 2 tokens and 30 on 8: 4 a token; after: 12 and 24: 3.6.
  const auto got = *compare_prose({{10, 30}, {2, 8}}, {{12, 24}, {2, 8}});
  EXPECT_DOUBLE_EQ(got.before_nats_per_token, 4);
  EXPECT_DOUBLE_EQ(got.after_nats_per_token, 3.6);
  EXPECT_DOUBLE_EQ(got.difference, 3.6 - 4.0);
  EXPECT_EQ(got.paragraph_differences, (std::vector<double>{1, -0.75}));
  EXPECT_EQ(got.paragraphs_worse, 1);
  EXPECT_EQ(got.interval.low, -0.75);  // two paragraphs: every resample mean lies between them, and both ends occur
  EXPECT_EQ(got.interval.high, 1);
}

TEST(CompareProse, RefusesWhatCannotBeCompared) {
  EXPECT_FALSE(compare_prose({}, {}));
  EXPECT_EQ(compare_prose({{1}, {2}}, {{1}, {3}}).error().message,
            "[prose] the two scores are not of the same tokens: 1 and 1 paragraphs.");
  EXPECT_EQ(compare_prose({{0}, {0}}, {{0}, {0}}).error().message, "[prose] paragraph 1 has no token.");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(compare_prose({{1, 1}, {2, 2}}, {{1, nan}, {2, 2}}).error().message,
            "[prose] paragraph 2 has the likelihoods 1 and nan nats. Expected finite numbers.");
}

}  // namespace
}  // namespace candor::eval
