#include "base/rng.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace candor {
namespace {

using ::testing::ElementsAre;

// Known answers of Random123's kat_vectors (philox4x32, 10 rounds): counter 0 and key 0; the counter's last word holds
// stream << 24 ^ step, so stream 0 and step 0 give the all-zero counter.
TEST(Rng, PhiloxKnownAnswer) {
  const RngKey zero{0, static_cast<RngStream>(0), 0, 0};
  EXPECT_THAT(random_words(zero, 0), ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
}

TEST(Rng, EveryPartOfTheKeyMatters) {
  const RngKey key{7, RngStream::kSampling, 3, 5};
  std::set<std::vector<uint32_t>> seen;
  auto add = [&](RngKey k, uint64_t position) {
    const auto w = random_words(k, position);
    seen.insert(std::vector<uint32_t>(w.begin(), w.end()));
  };
  add(key, 11);
  add({8, RngStream::kSampling, 3, 5}, 11);
  add({7 + (uint64_t{1} << 32), RngStream::kSampling, 3, 5}, 11);
  add({7, RngStream::kShuffling, 3, 5}, 11);
  add({7, RngStream::kSampling, 4, 5}, 11);
  add({7, RngStream::kSampling, 3, 6}, 11);
  add(key, 12);
  add(key, 11 + (uint64_t{1} << 32));
  EXPECT_EQ(seen.size(), 8u);
}

TEST(Rng, UniformCoversTheUnitInterval) {
  const RngKey key{1, RngStream::kData, 0, 0};
  double sum = 0, low = 1, high = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random_uniform(key, static_cast<uint64_t>(i));
    sum += u;
    low = std::min(low, u);
    high = std::max(high, u);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.005);  // five standard errors: 5·sqrt(1/12/100000)
  EXPECT_GE(low, 0.0);
  EXPECT_LT(high, 1.0);
  EXPECT_LT(low, 1e-3);
  EXPECT_GT(high, 1 - 1e-3);
}

TEST(Rng, NormalHasItsMomentsAndTails) {
  const RngKey key{4, RngStream::kInitialisation, 0, 0};
  double moments[5] = {};
  int beyond2 = 0;
  constexpr int kDraws = 200000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random_normal(key, static_cast<uint64_t>(i));
    double power = 1;
    for (double& moment : moments) {
      moment += power / kDraws;
      power *= x;
    }
    beyond2 += std::abs(x) > 2;
  }
  // Five standard errors: sqrt(Var x^k / n) with Var = 1, 2, 15, 96.
  EXPECT_NEAR(moments[1], 0, 5 * std::sqrt(1.0 / kDraws));
  EXPECT_NEAR(moments[2], 1, 5 * std::sqrt(2.0 / kDraws));
  EXPECT_NEAR(moments[3], 0, 5 * std::sqrt(15.0 / kDraws));
  EXPECT_NEAR(moments[4], 3, 5 * std::sqrt(96.0 / kDraws));
  EXPECT_NEAR(beyond2 / static_cast<double>(kDraws), 0.0455003, 5 * std::sqrt(0.0455 * 0.9545 / kDraws));
}

TEST(Rng, BelowIsEvenAndInRange) {
  const RngKey key{2, RngStream::kData, 0, 0};
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts.at(random_below(key, static_cast<uint64_t>(i), 7));
  for (int count : counts) EXPECT_NEAR(count, 10000, 500);  // five standard deviations of about 93
  EXPECT_EQ(random_below(key, 3, 1), 0u);
}

}  // namespace
}  // namespace candor
