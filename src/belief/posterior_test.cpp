#include "belief/posterior.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "belief/estimate.h"
#include "belief/simulation.h"

namespace candor::belief {
namespace {

std::vector<const Control*> pointers(const std::vector<Control>& controls) {
  std::vector<const Control*> out;
  for (const Control& each : controls) out.push_back(&each);
  return out;
}

// B of one sign of item at a threshold is right: the share of held-out positives and negatives that fall on their side.
TEST(Posterior, TellsHeldOutControlsApart) {
  const Simulation world = simulate({.seed = 3});
  const std::vector<double> held_out = held_out_posteriors(pointers(world.controls), {});
  double right = 0;
  for (size_t i = 0; i < held_out.size(); ++i) right += (held_out[i] >= 0.5) == believes(world.controls[i].kind);
  // Six or more of eight: 0.874 of believers, 0.929 of the others; four standard errors of 800 are 0.04.
  EXPECT_NEAR(right / 800, 0.90, 0.04);
}

// Without offset and scores a fit of balanced controls leaves B = π0 where the evidence is nil.
TEST(Posterior, WithoutEvidenceItIsThePrior) {
  std::vector<Control> controls(30);
  for (size_t i = 0; i < controls.size(); ++i) {
    controls[i].kind = i < 10 ? ControlKind::kRecalledAll : ControlKind::kInstructed;
    controls[i].answers.id = std::to_string(i);
  }
  for (const double prior : {0.5, 0.2})
    EXPECT_NEAR(posterior({}, learn(pointers(controls), {.prior = prior})), prior, 1e-9);
  controls.resize(10);  // one sign alone
  EXPECT_NEAR(posterior({}, learn(pointers(controls), {.prior = 0.3})), 0.3, 1e-12);
  EXPECT_NEAR(posterior({}, learn({}, {})), 0.5, 1e-12);
}

TEST(Posterior, ScoresOfAnItem) {
  ItemAnswers item;
  item.log_odds = std::log(3.0);           // 0.75
  item.negation_log_odds = std::log(4.0);  // 0.8
  item.pressure = {{Pressure::kPeers, 1, 2.0},
                   {Pressure::kPeers, 6, -1.0},
                   {Pressure::kSource, 0, kNotAsked},
                   {Pressure::kSource, 1, 0.5}};
  item.truth = 1.5;
  const Scores scores = scores_of(item);
  EXPECT_NEAR(scores[0], 1 - 0.55, 1e-12);
  EXPECT_NEAR(scores[1], 1 - 1.0 / 3, 1e-12);
  EXPECT_EQ(scores[2], 1.5);
  item.pressure.clear();
  EXPECT_TRUE(std::isnan(scores_of(item)[1]));
  item.negation_log_odds = kNotAsked;
  EXPECT_TRUE(std::isnan(scores_of(item)[0]));
}

// A score that tells the signs apart has a weight of the right sign; where it was not run it drops out.
TEST(Posterior, AScoreIsLearntAndDropsOutWhereItWasNotRun) {
  const Simulation world = simulate({.coherence_gap = 0.08, .seed = 5});
  const Instrument instrument = learn(pointers(world.controls), {});
  const ScoreWeight& coherence = instrument.scores[static_cast<size_t>(Score::kCoherence)];
  EXPECT_TRUE(coherence.used);
  EXPECT_GT(coherence.gamma, 0.5);
  EXPECT_FALSE(instrument.scores[static_cast<size_t>(Score::kRobustness)].used);
  EXPECT_FALSE(instrument.scores[static_cast<size_t>(Score::kTruth)].used);
  ItemAnswers item = world.answers[0], mean = item;
  item.negation_log_odds = kNotAsked;
  const double at_mean = 1 - coherence.mean;  // the gap of an average control, P(p) = 3/4
  mean.negation_log_odds = std::log((0.25 - at_mean) / (0.75 + at_mean));
  EXPECT_NEAR(posterior(item, instrument), posterior(mean, instrument), 1e-9);

  // With it the held-out controls are told apart better.
  const ControlCalls with = call_controls(pointers(world.controls), {}, 0.95);
  std::vector<Control> without = world.controls;
  for (Control& control : without) control.answers.negation_log_odds = kNotAsked;
  const ControlCalls blind = call_controls(pointers(without), {}, 0.95);
  EXPECT_GT(with.sensitivity.value + with.specificity.value,
            blind.sensitivity.value + blind.specificity.value + 0.02);  // 0.86 and 0.82 apart by more than chance here
}

// What is coherently and firmly disbelieved is coherent and firm too: without belief neither counts.
TEST(Posterior, AFirmDisbeliefIsNoSignOfBelief) {
  ItemAnswers item;
  item.log_odds = -9;
  item.negation_log_odds = 9;
  item.pressure = {{Pressure::kPeers, 6, -8.0}};
  const Scores scores = scores_of(item);
  EXPECT_EQ(scores[0], 0);
  EXPECT_EQ(scores[1], 0);
  item.log_odds = 9;
  item.negation_log_odds = -9;
  item.pressure[0].log_odds = 8;
  EXPECT_NEAR(scores_of(item)[0], 1, 1e-3);  // 1 - the gap of two probabilities of 1e-4
  EXPECT_EQ(scores_of(item)[1], 1);
  item.log_odds = kNotAsked;
  EXPECT_TRUE(std::isnan(scores_of(item)[0]));
}

// Controls in which what is believed is the less coherent: told falsehoods are repeated word for word. Coherence is
// then left out, and B is what the sub-questions alone give.
TEST(Posterior, AScoreThatSpeaksAgainstBeliefIsLeftOut) {
  Simulation world = simulate({.coherence_gap = 0.08, .seed = 5});
  std::vector<Control> turned = world.controls, without = world.controls;
  for (size_t i = 0; i < turned.size(); ++i) {
    const double gap = believes(turned[i].kind) ? 0.2 : 0.01 * static_cast<double>(i % 5);
    turned[i].answers.negation_log_odds = std::log((0.25 - gap) / (0.75 + gap));  // P(p) = 3/4
    without[i].answers.negation_log_odds = kNotAsked;
  }
  const Instrument instrument = learn(pointers(turned), {}), blind = learn(pointers(without), {});
  EXPECT_FALSE(instrument.scores[static_cast<size_t>(Score::kCoherence)].used);
  EXPECT_EQ(instrument.scores[static_cast<size_t>(Score::kCoherence)].gamma, 0);
  for (const ItemAnswers& answers : world.answers) EXPECT_EQ(posterior(answers, instrument), posterior(answers, blind));
}

// The fold's own control must not teach the instrument that judges it: turning one control's answers round changes the
// B of others, and its own only through its own answers.
TEST(Posterior, AControlDoesNotTeachItsOwnJudge) {
  Simulation world = simulate({.positives = 40, .negatives = 40, .seed = 1});
  const std::vector<double> before = held_out_posteriors(pointers(world.controls), {});
  world.controls[7].kind = ControlKind::kInstructed;  // it was a positive one
  const std::vector<double> after = held_out_posteriors(pointers(world.controls), {});
  // Its fold may have moved; with a fold per id it cannot.
  const std::vector<double> alone = held_out_posteriors(pointers(world.controls), {.folds = 1000});
  world.controls[7].kind = ControlKind::kRecalledMost;
  EXPECT_EQ(held_out_posteriors(pointers(world.controls), {.folds = 1000})[7], alone[7]);
  EXPECT_NE(before, after);
}

TEST(Posterior, OneIdIsInOneFold) {
  // Two controls of each id; were they in different folds, each would be judged by its double.
  Simulation world = simulate({.positives = 20, .negatives = 20, .seed = 2});
  std::vector<Control> doubled = world.controls;
  for (const Control& control : world.controls) {
    doubled.push_back(control);
    if (control.kind == ControlKind::kInstructed) doubled.back().kind = ControlKind::kParroted;
  }
  const std::vector<double> twice = held_out_posteriors(pointers(doubled), {.folds = 1000});
  for (size_t i = 0; i < world.controls.size(); ++i) {
    std::vector<const Control*> others;
    for (const Control& control : doubled)
      if (control.answers.id != doubled[i].answers.id) others.push_back(&control);
    EXPECT_EQ(twice[i], posterior(doubled[i].answers, learn(others, {})));
  }
}

}  // namespace
}  // namespace candor::belief
