// The held-out reward beside training on pairs: what a look is, the planted case in which the policy's own reward
// learns length and the held-out reward pays for the short, and a reward that fails.
#include "recipes/preference_gold.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/rng.h"
#include "support/golden_model.h"

namespace candor::recipes {
namespace {

using algorithms::PreferencePair;
using candor::testing::value_of;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const double kNaN = std::nan("");

PreferencePair pair_of(double chosen_reward, double rejected_reward) {
  PreferencePair pair;
  pair.chosen_reward = chosen_reward;
  pair.rejected_reward = rejected_reward;
  return pair;
}

struct Looked {
  GoldScores scores{{3, 0, 1, kNaN, 1}, {1, 1, 2, 5, 0}};
  // Prefers the chosen by 2 and by ½, the rejected by 1, the chosen by 4, and neither.
  std::vector<PreferencePair> pairs = {pair_of(2, 0), pair_of(0.5, 0), pair_of(-1, 0), pair_of(1, -3), pair_of(1, 1)};

  // Held-out reward of the preferred sides above the others: 2, -1, 1 and 0; mean ½, squares about it 5.
  bool as_by_hand() const {
    const GoldOfPairs look = gold_of_pairs(scores, pairs);
    return look.gold == 0.5 && look.own_reward == 0.875 && look.agreement == 2.0 / 3 &&
           std::abs(look.error - std::sqrt(5.0 / 3 / 4)) < 1e-15;
  }
};

TEST(PreferenceGold, AWorkedLookAndItsTwins) {
  EXPECT_TRUE(Looked().as_by_hand());
  const std::vector<std::pair<std::string, std::function<void(Looked&)>>> twins{
      {"the label in the place of the policy's preference",
       [](Looked& l) {
         for (PreferencePair& pair : l.pairs) pair = pair_of(std::abs(pair.chosen_reward - pair.rejected_reward), 0);
       }},
      {"chosen and rejected scores swapped", [](Looked& l) { std::swap(l.scores.chosen, l.scores.rejected); }},
      {"an abstention counts as 0", [](Looked& l) { l.scores.chosen[3] = 0; }},
      {"neither side preferred counts as the chosen", [](Looked& l) { l.pairs[4].chosen_reward += 1e-9; }},
      {"the reward of the chosen side alone",
       [](Looked& l) {
         for (PreferencePair& pair : l.pairs) pair.rejected_reward = 0;
       }},
  };
  for (const auto& [what, break_it] : twins) {
    Looked twin;
    break_it(twin);
    EXPECT_FALSE(twin.as_by_hand()) << what;
  }
  const std::vector<PreferencePair> undecided(5, pair_of(1, 1));  // a policy that is its own reference
  const GoldOfPairs first = gold_of_pairs(Looked().scores, undecided);
  EXPECT_EQ(first.gold, 0);
  EXPECT_TRUE(std::isnan(first.error) && std::isnan(first.agreement));
}

// 128 held-out pairs, of which one side is longer and one better, independently. The held-out reward pays for what is
// better and takes a little for length. own(t, better, longer): the policy's margin of the first side, t from 0 to 1.
struct Watched {
  guard::Guard guard;
  guard::Verdict verdict;
  std::string said;
  int64_t alarm_step = 0;
};
Watched watched(const std::function<double(double t, double better, double longer)>& own) {
  constexpr size_t kPairs = 128;
  std::vector<double> better, longer;
  GoldScores scores;
  const RngKey key{.seed = 7, .stream = RngStream::kData};
  for (size_t i = 0; i < kPairs; ++i) {
    better.push_back(2 * random_uniform(key, 2 * i) - 1);
    longer.push_back(random_uniform(key, 2 * i + 1) < 0.5 ? 1 : -1);
    scores.chosen.push_back(better.back() - 0.5 * longer.back());
    scores.rejected.push_back(0);
  }
  Watched run;
  for (int64_t step = 1; step <= 100 && run.verdict.answer != guard::Answer::kStop; ++step) {
    guard::PreferenceNumbers numbers;
    numbers.accuracy = 1;  // of the pairs that train, which says nothing any more
    if (step == 1 || step % 10 == 0) {
      std::vector<PreferencePair> pairs;
      const double t = static_cast<double>(step - 1) / 99;
      for (size_t i = 0; i < kPairs; ++i) pairs.push_back(pair_of(own(t, better[i], longer[i]), 0));
      SupervisedStep noted;
      noted.preferences = numbers;
      note_gold(gold_of_pairs(scores, pairs), noted);
      numbers = *noted.preferences;
    }
    run.verdict = run.guard.inspect_preference(step, numbers);
    run.said += run.verdict.reason;
    if (run.alarm_step == 0 && !run.verdict.signals.empty()) run.alarm_step = step;
  }
  return run;
}

TEST(PreferenceGold, LengthInThePlaceOfQualityStopsAndQualityDoesNot) {
  // Learns what is better, and then that longer is what the labels pay for.
  const Watched hacked = watched(
      [](double t, double better, double longer) { return t * (better + 6 * std::max(0.0, t - 0.3) * longer); });
  EXPECT_EQ(hacked.verdict.answer, guard::Answer::kStop);
  EXPECT_THAT(hacked.verdict.signals, Contains("gold_falls"));
  EXPECT_THAT(hacked.said,
              HasSubstr("In the held-out pairs the held-out reward of the sides that the policy prefers, less that of "
                        "the others, fell from "));
  EXPECT_THAT(hacked.said, HasSubstr(" while the policy's own reward of them rose from "));
  EXPECT_GT(hacked.alarm_step, 40);
  // Length from the first step on: the one look before it is what it is held against.
  const Watched at_once = watched([](double t, double, double longer) { return 4 * t * longer; });
  EXPECT_THAT(at_once.said, HasSubstr("fell from 0 to -"));
  // The honest twin.
  const Watched honest = watched([](double t, double better, double) { return 5 * t * better; });
  EXPECT_EQ(honest.said, "");
  EXPECT_THAT(honest.verdict.signals, IsEmpty());
  EXPECT_THAT(guard::guard_summary(honest.guard)["sentence"].get<std::string>(),
              HasSubstr("the held-out reward of what the policy prefers rose from 0 to "));
}

// A policy whose preferences have nothing to do with the held-out reward: 40 of them, and none is warned about.
TEST(PreferenceGold, PreferencesOfNoMeaningAreNoAlarm) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    uint64_t drawn = 0;
    const Watched run = watched([&](double t, double, double) {
      return 3 * t * (2 * random_uniform({.seed = seed, .stream = RngStream::kData, .step = 1}, drawn++) - 1);
    });
    EXPECT_EQ(run.said, "") << seed;
  }
}

struct Scored : ::testing::Test {
  data::PairSet pairs;
  std::vector<GoldRow> rows;

  Scored() {
    pairs.name = "held_out.jsonl";
    for (int i = 0; i < 3; ++i) {
      pairs.rows.push_back({{{1, 2, 3, 4}, 2}, {{1, 2, 5}, 2}, i + 1, 0.0});
      rows.push_back({{{"prompt", "Why?"}, {"answer", i == 1 ? text::Json() : text::Json("4")}}, "It is 4", "It is 5"});
    }
  }
  static rewards::Reward reward(std::function<Result<rewards::Scores>(std::span<const rewards::Completion>)> score) {
    return {"judge", std::move(score), {}};
  }
};

TEST_F(Scored, EverySideIsAskedAboutByItself) {
  const rewards::Reward asked = reward([](std::span<const rewards::Completion> sides) -> Result<rewards::Scores> {
    rewards::Scores scores;
    for (const rewards::Completion& side : sides) {
      EXPECT_EQ(side.prompt_ids.size(), 2u);
      scores.emplace_back(side.text == "It is 4" ? static_cast<double>(side.ids.size()) : -1.0);
    }
    return scores;
  });
  const GoldScores scores = value_of(score_pairs({&asked, 1}, pairs, rows));
  EXPECT_EQ(scores.chosen, std::vector<double>(3, 2));
  EXPECT_EQ(scores.rejected, std::vector<double>(3, -1));
}

// A verifier abstains where a row has no answer: that pair does not count.
TEST_F(Scored, AVerifierMayJudgeSomeOfThePairs) {
  const rewards::Reward accuracy = value_of(rewards::make_reward("accuracy", {}));
  const GoldScores scores = value_of(score_pairs({&accuracy, 1}, pairs, rows));
  EXPECT_EQ(scores.scored(), 2);
  EXPECT_EQ(scores.chosen[0] - scores.rejected[0], 1);
  const std::vector<PreferencePair> preferred(3, pair_of(1, 0));
  EXPECT_EQ(gold_of_pairs(scores, preferred).gold, 1);
}

TEST_F(Scored, ARewardThatFailsOrSaysNothingIsNamed) {
  const rewards::Reward fails =
      reward([](std::span<const rewards::Completion>) -> Result<rewards::Scores> { return error("out of order"); });
  EXPECT_THAT(score_pairs({&fails, 1}, pairs, rows).error().message,
              ::testing::AllOf(HasSubstr("gold_reward_funcs: "), HasSubstr("judge"), HasSubstr("out of order")));
  const rewards::Reward silent = reward([](std::span<const rewards::Completion> sides) -> Result<rewards::Scores> {
    return rewards::Scores(sides.size());
  });
  EXPECT_EQ(score_pairs({&silent, 1}, pairs, rows).error().message,
            "[gold_reward_funcs] the held-out reward abstained on a side of every one of the 3 pairs of "
            "held_out.jsonl, so it would say nothing. Give pairs that it can judge, or remove gold_reward_funcs.");
}

}  // namespace
}  // namespace candor::recipes
