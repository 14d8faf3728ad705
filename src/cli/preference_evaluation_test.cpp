// Held-out preferences before and after, on numbers that one can check by hand.
#include "cli/preference_evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace candor::cli {
namespace {

using files::Json;
using ::testing::HasSubstr;

// n pairs of two tokens a side, whose log-probabilities are these, a little apart from pair to pair.
recipes::PairEvaluation pairs(double chosen, double rejected, int n = 8) {
  recipes::PairEvaluation evaluation;
  for (int i = 0; i < n; ++i) {
    const double off = 0.01 * i;
    algorithms::PreferencePair pair;
    pair.chosen_tokens = pair.rejected_tokens = 2;
    pair.chosen_reward = chosen;
    pair.rejected_reward = rejected;
    pair.loss = 1.0 / n;
    evaluation.pairs.push_back(pair);
    // A prompt's token that counts stands before the chosen completion.
    evaluation.logprobs.push_back({-99, chosen + off, chosen, rejected, rejected - off});
  }
  return evaluation;
}

TEST(PreferenceEvaluation, PairsThatMoveApart) {
  const PreferenceReport report = compare_pairs("dpo", pairs(-3, -2), pairs(-2, -4));
  const Json& preference = report.evaluations["preference"];
  EXPECT_EQ(preference["rows"], 8);
  EXPECT_NEAR(preference["chosen"]["before"].get<double>(), -6 + 0.035, 1e-12);
  EXPECT_NEAR(preference["chosen"]["difference"].get<double>(), 2, 1e-12);
  EXPECT_NEAR(preference["rejected"]["difference"].get<double>(), -4, 1e-12);
  EXPECT_NEAR(preference["margin"]["difference"].get<double>(), 6, 1e-12);
  EXPECT_NEAR(preference["loss"]["before"].get<double>(), 1, 1e-12);
  EXPECT_EQ(report.evaluations["ranking"]["before"]["correct"], 0);
  EXPECT_EQ(report.evaluations["ranking"]["after"]["correct"], 8);
  EXPECT_NEAR(report.evaluations["ranking"]["mcnemar"]["p"].get<double>(), 2.0 / 256, 1e-12);
  EXPECT_EQ(report.evaluations["reward_accuracy"]["correct"], 8);
  EXPECT_EQ(
      report.verdict,
      "The policy has moved chosen and rejected completions apart, as it should, on 8 held-out pairs (+6.00 nats, "
      "95% interval +6.00 to +6.00; the chosen one likelier per token in 100% of pairs, before 0%).");
  EXPECT_TRUE(report.warnings.empty());
}

TEST(PreferenceEvaluation, BothSidesFallingIsSaidWithARemedy) {
  const PreferenceReport report = compare_pairs("dpo", pairs(-2, -2), pairs(-3, -6));
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_THAT(report.warnings[0], HasSubstr("Both sides have become less likely: a chosen completion by -2.00 nats"));
  EXPECT_THAT(report.warnings[0], HasSubstr("loss_type [sigmoid, sft]"));
  EXPECT_THAT(compare_pairs("cpo", pairs(-2, -2), pairs(-3, -6)).warnings.at(0), HasSubstr("cpo_alpha"));
  EXPECT_TRUE(compare_pairs("dpo", pairs(-2, -2), pairs(-2, -6)).warnings.empty());
  EXPECT_TRUE(compare_pairs("dpo", pairs(-2, -2), pairs(-3, -1)).warnings.empty());  // the wrong way: said otherwise
}

TEST(PreferenceEvaluation, TheWrongWayAndTooFew) {
  EXPECT_THAT(compare_pairs("orpo", pairs(-2, -2), pairs(-3, -1)).verdict, HasSubstr("the wrong way"));
  EXPECT_THAT(compare_pairs("orpo", pairs(-2, -2), pairs(-2, -2)).verdict, HasSubstr("No change that chance"));
  const PreferenceReport few = compare_pairs("orpo", pairs(-2, -2, 3), pairs(-2, -4, 3));
  EXPECT_THAT(few.verdict, HasSubstr("3 held-out pairs are too few"));
  EXPECT_TRUE(few.evaluations["preference"]["margin"]["interval"].is_null());
}

TEST(PreferenceEvaluation, RewardModels) {
  const recipes::RewardEvaluation coin{
      {1, -1, 1, -1, 1, -1, 1, -1}, std::vector<double>(8, 0), std::vector<double>(8, 0)};
  const recipes::RewardEvaluation right{std::vector<double>(8, 2), std::vector<double>(8, 0),
                                        std::vector<double>(8, 0)};
  const PreferenceReport better = compare_rewards(coin, right);
  EXPECT_EQ(better.verdict,
            "The reward model puts the chosen completion first in most of 8 held-out pairs (100%, 95% interval 63% to "
            "100%, before training 50%).");  // Clopper and Pearson: 0.025^(1/8) = 0.631
  EXPECT_NEAR(better.evaluations["preference"]["loss"]["after"].get<double>(), std::log1p(std::exp(-2.0)), 1e-12);
  EXPECT_THAT(compare_rewards(right, coin).verdict, HasSubstr("cannot be told from a coin"));
}

TEST(PreferenceEvaluation, LabelledRows) {
  const auto rows = [](double wanted, double unwanted) {
    recipes::KtoEvaluation evaluation;
    for (int i = 0; i < 12; ++i) evaluation.rows.push_back({0.5 / 12, i % 2 == 0, i % 2 == 0 ? wanted : unwanted, 0.0});
    return evaluation;
  };
  const PreferenceReport report = compare_labelled(rows(-5, -5), rows(-4, -7), true);
  const Json& preference = report.evaluations["preference"];
  EXPECT_NEAR(preference["margin"]["difference"].get<double>(), 3, 1e-12);
  EXPECT_NEAR(preference["margin"]["interval"][0].get<double>(), 3, 1e-12);
  EXPECT_NEAR(preference["loss"]["after"].get<double>(), 0.5, 1e-12);
  EXPECT_THAT(report.verdict, HasSubstr("wanted and unwanted completions apart, as it should, on 12 held-out rows"));
  EXPECT_FALSE(compare_labelled(rows(-5, -5), rows(-4, -7), false).evaluations["preference"].contains("loss"));
  EXPECT_EQ(compare_labelled(rows(-5, -5), rows(-6, -9), true).warnings.size(), 1u);
}

}  // namespace
}  // namespace candor::cli
