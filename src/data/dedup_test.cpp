#include "data/dedup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/rng.h"

namespace candor::data {
namespace {

using ::testing::HasSubstr;
using text::Json;

Rows texts(const std::vector<std::string>& all) {
  Rows rows{"f", {}};
  for (const std::string& one : all) {
    const auto number = static_cast<int64_t>(rows.rows.size()) + 1;
    rows.rows.push_back({Json{{"text", one}}, number, number});
  }
  return rows;
}

TEST(Deduplicate, EqualAfterNormalizingIsEqual) {
  // Case, white space and NFKC (a full-width A) make no difference; the first stays, as it was.
  const Rows rows =
      texts({"The  sky\nis blue.", "other", "the sky is Blue. ", "\xEF\xBC\xB4he sky is blue.", "Other!"});
  const auto result = deduplicate(rows, {.threshold = 1});
  ASSERT_TRUE(result);
  ASSERT_EQ(result->pairs.size(), 2u);
  EXPECT_EQ(result->pairs[0].row, 3);
  EXPECT_EQ(result->pairs[0].like_row, 1);
  EXPECT_EQ(result->pairs[1].row, 4);
  EXPECT_EQ(result->pairs[1].similarity, 1);
  ASSERT_EQ(result->kept.rows.size(), 3u);
  EXPECT_EQ(result->kept.rows[0].columns["text"], "The  sky\nis blue.");
}

// "abcdefghij" has the shingles abcde … fghij, 6 of them; with another last letter 5 are shared of 7: 5/7 = 0.714.
TEST(Deduplicate, SimilarityIsJaccardOfShingles) {
  const Rows rows = texts({"abcdefghij", "abcdefghix"});
  const auto near = deduplicate(rows, {.threshold = 0.7});
  ASSERT_TRUE(near);
  ASSERT_EQ(near->pairs.size(), 1u);
  EXPECT_DOUBLE_EQ(near->pairs[0].similarity, 5.0 / 7.0);
  EXPECT_TRUE(deduplicate(rows, {.threshold = 0.72})->pairs.empty());
}

// Against all pairs compared one by one: MinHash may propose too few (it does not here), never decide.
TEST(Deduplicate, FindsWhatComparingAllPairsFinds) {
  std::vector<std::string> all;
  const RngKey key{3, RngStream::kData, 0, 0};
  uint64_t draw = 0;
  for (int i = 0; i < 150; ++i) {
    std::string text = i >= 50 ? all[i - 50] : "";
    if (i < 50)
      for (int c = 0; c < 200; ++c) text += static_cast<char>('a' + random_below(key, draw++, 26));
    for (int change = 0; change < i / 50 * 2; ++change) {
      const uint64_t place = random_below(key, draw++, text.size());
      text[place] = static_cast<char>('a' + random_below(key, draw++, 26));
    }
    all.push_back(text);
  }
  const auto shingles = [](const std::string& text) {
    std::set<std::string> set;
    for (size_t i = 0; i + 5 <= text.size(); ++i) set.insert(text.substr(i, 5));
    return set;
  };
  const double threshold = 0.9;
  std::vector<size_t> kept;
  for (size_t i = 0; i < all.size(); ++i) {
    const auto these = shingles(all[i]);
    const bool repeats = std::any_of(kept.begin(), kept.end(), [&](size_t j) {
      const auto those = shingles(all[j]);
      double both = 0;
      for (const auto& one : these) both += those.contains(one) ? 1 : 0;
      return both / (static_cast<double>(these.size() + those.size()) - both) >= threshold;
    });
    if (!repeats) kept.push_back(i);
  }
  ASSERT_GT(kept.size(), 50u);
  ASSERT_LT(kept.size(), 150u);
  for (const uint64_t seed : {0, 1, 2}) {
    const auto result = deduplicate(texts(all), {.threshold = threshold, .seed = seed});
    ASSERT_TRUE(result);
    std::vector<size_t> ours;
    for (const Row& row : result->kept.rows) ours.push_back(static_cast<size_t>(row.number - 1));
    EXPECT_EQ(ours, kept);
    EXPECT_LE(result->miss_probability, 1e-3);
  }
}

TEST(Deduplicate, ComparesTheColumnsThatAreNamed) {
  const auto rows =
      parse_json_rows("{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"a\", \"completion\": \"c\"}\n", "f");
  EXPECT_EQ(deduplicate(*rows, {})->kept.rows.size(), 2u);
  EXPECT_EQ(deduplicate(*rows, {.columns = {"prompt"}})->kept.rows.size(), 1u);
  EXPECT_THAT(deduplicate(*rows, {.columns = {"q"}}).error().message, HasSubstr("f row 1: there is no column \"q\"."));
  EXPECT_THAT(deduplicate(*parse_json_rows("{\"a\": 1}", "f"), {}).error().message, HasSubstr("Name the columns"));
  EXPECT_FALSE(deduplicate(*rows, {.threshold = 0}));
}

}  // namespace
}  // namespace candor::data
