#include "guard/gold.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/rng.h"
#include "guard/thresholds.h"

namespace candor::guard {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<GoldLook> looks(const std::vector<double>& gold, const std::vector<double>& proxy, double error = 0.1) {
  std::vector<GoldLook> made;
  for (size_t i = 0; i < gold.size(); ++i)
    made.push_back({static_cast<int64_t>(i + 1), static_cast<double>(i), gold[i], error, proxy[i]});
  return made;
}

TEST(Gold, AWorkedFall) {
  // Newest two 0.2 and 0.4, mean 0.3; best two running 0.8 and 1.0, mean 0.9: z = 0.6 / (0.1·√(2/2)).
  const GoldFall fall = gold_fall(looks({0.5, 0.8, 1.0, 0.4, 0.2}, {1, 2, 3, 4, 5}));
  EXPECT_NEAR(fall.z, 6, 1e-12);
  EXPECT_EQ(fall.looks, 2);
  EXPECT_EQ(fall.best_step, 3);
  EXPECT_NEAR(fall.best, 0.9, 1e-15);
  EXPECT_NEAR(fall.now, 0.3, 1e-15);
  EXPECT_NEAR(fall.now_proxy, 4.5, 1e-15);
}

TEST(Gold, BothMustHold) {
  EXPECT_EQ(gold_fall(looks({0.5, 0.8, 1.0, 0.4, 0.2}, {5, 4, 3, 2, 1})).z, 0);   // the proxy falls as well
  EXPECT_EQ(gold_fall(looks({0.5, 0.8, 1.0, 0.0, 0.95}, {1, 2, 3, 4, 5})).z, 0);  // one look only
  EXPECT_EQ(gold_fall(looks({1.0, 1.0, 0.1}, {1, 2, 3})).z, 0);                   // too few looks
  EXPECT_EQ(gold_fall({}).z, 0);
  // Without any error given: neighbours 0.1 0.1 0.1 0.5 0.1 apart, median 0.1, so 0.1484 / √2 a look.
  const GoldFall unknown = gold_fall(looks({0.8, 0.9, 0.8, 0.9, 0.4, 0.3}, {1, 2, 3, 4, 5, 6}, kNaN));
  EXPECT_NEAR(unknown.z, 0.5 / (0.14826 / std::sqrt(2.0)), 1e-9);
}

// Looks at the same rows: each is its own mean, the newest 0.2 against the best 1.0, z = 0.8 / (0.1·√2).
TEST(Gold, LooksAtTheSameRowsAreNotAveraged) {
  std::vector<GoldLook> made = looks({0.5, 1.0, 0.4, 0.2}, {1, 2, 3, 4});
  for (GoldLook& look : made) look.same_rows = true;
  const GoldFall fall = gold_fall(made);
  EXPECT_NEAR(fall.z, 8 / std::sqrt(2.0), 1e-12);
  EXPECT_EQ(fall.looks, 1);
  EXPECT_EQ(fall.best_step, 2);
  EXPECT_EQ(fall.now_proxy, 4);
  made.pop_back();
  EXPECT_EQ(gold_fall(made).z, 0);  // one look below the best
}

// The held-out reward stands at 0.8 while 0.1, then 0.3 of the completions are paid for in error: 0.2 / (0.05·√(2/2)).
TEST(Gold, AHoleGrowsBeforeTheHeldOutRewardFalls) {
  std::vector<GoldLook> made = looks({0.8, 0.8, 0.8, 0.8, 0.8}, {1, 2, 3, 4, 5});
  const std::vector<double> paid_wrong = {0.3, 0.1, 0.1, 0.3, 0.3};
  for (size_t i = 0; i < made.size(); ++i) {
    made[i].paid_wrong = paid_wrong[i];
    made[i].paid_wrong_error = 0.05;
  }
  const GoldFall hole = growth_of_hole(made);
  EXPECT_NEAR(hole.z, 4, 1e-12);
  EXPECT_EQ(hole.best_step, 3);
  EXPECT_NEAR(1 - hole.now, 0.3, 1e-15);
  EXPECT_EQ(gold_fall(made).z, 0);
  EXPECT_EQ(growth_of_hole(looks({0.8, 0.8, 0.5, 0.5}, {1, 2, 3, 4})).z, 0);  // not known
  for (GoldLook& look : made) look.proxy = 1;
  EXPECT_EQ(growth_of_hole(made).z, 0);  // and nothing is gained by it
}

// 60 looks at a held-out reward that stays where it is, while a proxy that has nothing to do with it rises: the worst
// that an honest run can look like. In how many of 300 does z pass the threshold at some look?
TEST(Gold, NoiseAloneSeldomLooksLikeAFall) {
  const Thresholds thresholds = default_thresholds();
  int warned = 0, stopped = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::vector<GoldLook> seen;
    double worst = 0;
    for (uint64_t i = 0; i < 60; ++i) {
      seen.push_back({static_cast<int64_t>(i), 0, 0.5 + 0.06 * random_normal({seed, RngStream::kData}, i), 0.06,
                      static_cast<double>(i)});
      worst = std::max(worst, gold_fall(seen).z);
    }
    warned += worst > thresholds.gold_warning;
    stopped += worst > thresholds.gold_stop;
  }
  EXPECT_LE(warned, 30);  // 10%
  EXPECT_LE(stopped, 6);  // 2%; a reward that has anything to do with the held-out one seldom rises while that falls
}

TEST(Gold, TheInitialRewardIsThatOfTheControlSteps) {
  std::vector<GoldLook> made;
  for (int64_t step = 1; step <= 20; ++step) {
    const double d = 0.3 * static_cast<double>(step - 1);
    made.push_back({step, d, 0.25 + (d > 0 ? d * (0.5 - 0.2 * std::log(d)) : 0), 0.01, 0});
  }
  const auto fit = fit_gold(made, 1);
  ASSERT_TRUE(fit && fit->d_star);
  EXPECT_NEAR(fit->alpha, 0.5, 1e-9);  // no noise: only rounding
  EXPECT_NEAR(fit->beta, 0.2, 1e-9);
  EXPECT_NEAR(*fit->d_star, std::exp(1.5), 1e-6);
  for (GoldLook& look : made) look.d = kNaN;
  EXPECT_FALSE(fit_gold(made, 1));
  EXPECT_FALSE(fit_gold({}, 10));
}

}  // namespace
}  // namespace candor::guard
