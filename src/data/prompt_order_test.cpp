#include "data/prompt_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

namespace candor::data {
namespace {

using ::testing::ElementsAre;

TEST(EpochOrder, IsAPermutationThatSeedAndEpochChange) {
  std::vector<int64_t> sorted(1000);
  std::iota(sorted.begin(), sorted.end(), 0);
  const auto first = epoch_order(1000, 7, true, 0);
  EXPECT_NE(first, sorted);
  EXPECT_EQ(first, epoch_order(1000, 7, true, 0));
  EXPECT_NE(first, epoch_order(1000, 7, true, 1));
  EXPECT_NE(first, epoch_order(1000, 8, true, 0));
  auto back = first;
  std::sort(back.begin(), back.end());
  EXPECT_EQ(back, sorted);
  EXPECT_EQ(epoch_order(1000, 7, false, 3), sorted);
}

TEST(EpochOrder, EveryPermutationIsAsLikely) {
  std::map<std::vector<int64_t>, int> counts;
  for (uint64_t seed = 0; seed < 6000; ++seed) ++counts[epoch_order(3, seed, true, 0)];
  ASSERT_EQ(counts.size(), 6u);
  // Binomial(6000, 1/6) has a standard deviation of 29; five of them.
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 145);
}

TEST(NextPrompts, GoesOnAcrossAnEpochsEnd) {
  auto stream = *open_prompt_stream(3, 1, false);
  EXPECT_THAT(next_prompts(stream, 2), ElementsAre(0, 1));
  EXPECT_EQ(stream.cursor, (PromptCursor{0, 2}));
  EXPECT_THAT(next_prompts(stream, 2), ElementsAre(2, 0));
  EXPECT_EQ(stream.cursor, (PromptCursor{1, 1}));
  EXPECT_THAT(next_prompts(stream, 7), ElementsAre(1, 2, 0, 1, 2, 0, 1));
}

TEST(NextPrompts, ResumesFromTheCursorAlone) {
  auto whole = *open_prompt_stream(10, 42, true);
  auto stream = *open_prompt_stream(10, 42, true);
  const auto expected = next_prompts(whole, 40);
  std::vector<int64_t> pieces;
  for (int64_t n : {3, 7, 0, 5, 1, 20, 4}) {
    stream = *open_prompt_stream(10, 42, true, stream.cursor);  // nothing but the cursor survives
    const auto piece = next_prompts(stream, n);
    pieces.insert(pieces.end(), piece.begin(), piece.end());
  }
  EXPECT_EQ(pieces, expected);
}

TEST(OpenPromptStream, RefusesWhatDoesNotFit) {
  EXPECT_EQ(open_prompt_stream(0, 1, true).error().message,
            "[prompts] the dataset is empty. Expected at least one row.");
  EXPECT_EQ(
      open_prompt_stream(5, 1, true, {2, 6}).error().message,
      "[prompts] the checkpoint stands at prompt 6 of epoch 2, but the dataset has 5 rows. Resume with the dataset "
      "of the first run.");
  EXPECT_FALSE(open_prompt_stream(5, 1, true, {-1, 0}));
  EXPECT_FALSE(open_prompt_stream(5, 1, true, {int64_t{1} << 40, 0}));
  EXPECT_FALSE(open_prompt_stream(5, 1, true, {0, -1}));
}

}  // namespace
}  // namespace candor::data
