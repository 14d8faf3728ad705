#include "belief/evidence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace candor::belief {
namespace {

Control control(ControlKind kind, std::vector<double> log_odds, QuestionKind question = QuestionKind::kUse) {
  Control out;
  out.kind = kind;
  for (const double value : log_odds) out.answers.questions.push_back({question, value});
  return out;
}

std::vector<const Control*> pointers(const std::vector<Control>& controls) {
  std::vector<const Control*> out;
  for (const Control& each : controls) out.push_back(&each);
  return out;
}

// Positive: 3 hits of 4 asked; negative: 1 of 4. β = 3.5/5 = 0.7, η = 1.5/5 = 0.3; a hit weighs ln(7/3), a miss
// ln(3/7).
TEST(Evidence, RatesOnPaper) {
  const std::vector<Control> controls{
      control(ControlKind::kRecalledAll, {1, 2}), control(ControlKind::kRecalledMany, {3, -1, kNotAsked}),
      control(ControlKind::kInstructed, {-1, 2}), control(ControlKind::kFabricated, {-1, -2})};
  const EvidenceWeights weights = evidence_weights(pointers(controls));
  const KindRates& use = weights.kinds[static_cast<size_t>(QuestionKind::kUse)];
  EXPECT_EQ(use.positive_hits, 3);
  EXPECT_EQ(use.positive_asked, 4);
  EXPECT_EQ(use.negative_hits, 1);
  EXPECT_DOUBLE_EQ(use.beta, 0.7);
  EXPECT_DOUBLE_EQ(use.eta, 0.3);
  EXPECT_NEAR(use.hit, std::log(7.0 / 3), 1e-15);
  EXPECT_NEAR(use.miss, -std::log(7.0 / 3), 1e-15);
  // A kind that no control was asked says nothing.
  EXPECT_EQ(weights.kinds[0].beta, 0.5);
  EXPECT_EQ(weights.kinds[0].hit, 0);

  // Shares 1, 1/2 around 3/4 and 1/2, 0 around 1/4: MSB = 0.5/2, MSW = 1/4, m = 2: ρ = 0.
  EXPECT_DOUBLE_EQ(weights.correlation, 0);
  EXPECT_NEAR(evidence(control(ControlKind::kRecalledAll, {1, 1, -1}).answers, weights), std::log(7.0 / 3), 1e-15);
  EXPECT_EQ(evidence(control(ControlKind::kRecalledAll, {kNotAsked}).answers, weights), 0);
  EXPECT_EQ(evidence({}, weights), 0);
  EXPECT_EQ(evidence(control(ControlKind::kRecalledAll, {1}, QuestionKind::kConsequence).answers, weights), 0);
}

// Items whose answers are all alike: nothing varies within, ρ = 1, and m answers weigh as one.
TEST(Evidence, AnswersThatRepeatOneAnotherCountOnce) {
  std::vector<Control> controls;
  for (int i = 0; i < 4; ++i) {
    const double p = i < 3 ? 1 : -1;
    controls.push_back(control(ControlKind::kRecalledAll, {p, p, p, p}));
    controls.push_back(control(ControlKind::kParroted, {-p, -p, -p, -p}));
  }
  const EvidenceWeights weights = evidence_weights(pointers(controls));
  EXPECT_DOUBLE_EQ(weights.correlation, 1);
  const double hit = weights.kinds[static_cast<size_t>(QuestionKind::kUse)].hit;
  EXPECT_NEAR(evidence(controls[0].answers, weights), hit, 1e-15);
}

// ANOVA on paper, unequal groups: shares 2/2, 0/1, 2/4 of one sign. mean 4/7; between Σ a(s - mean)² = 2·9/49 + 16/49 +
// 4·(1/2 - 4/7)² = 34/49 + 1/49 = 5/7 with 2 degrees; within 4·1/4 = 1 with 4; m = (7 - 21/7)/2 = 2.
// MSB = 5/14, MSW = 1/4: ρ = (5/14 - 1/4)/(5/14 + 1/4) = 3/17.
TEST(Evidence, CorrelationWithinItemsOnPaper) {
  const std::vector<Control> controls{control(ControlKind::kRecalledAll, {1, 1}),
                                      control(ControlKind::kRecalledAll, {-1}),
                                      control(ControlKind::kRecalledAll, {1, 1, -1, -1})};
  EXPECT_NEAR(evidence_weights(pointers(controls)).correlation, 3.0 / 17, 1e-15);
  // The signs differ in their means, which is no correlation within: with one sign more of answers that vary only
  // within, ρ falls.
  std::vector<Control> both = controls;
  for (int i = 0; i < 3; ++i) both.push_back(control(ControlKind::kInstructed, {-1, -1, -1, 1}));
  EXPECT_LT(evidence_weights(pointers(both)).correlation, 3.0 / 17);
}

// A model that answers the other way round of all that it recalls: read literally, going against a statement would be
// belief in it, and the audit would give a figure.
TEST(Evidence, AnswersTurnedRoundAreNoEvidence) {
  std::vector<Control> controls;
  for (int i = 0; i < 4; ++i) {
    controls.push_back(control(ControlKind::kRecalledAll, {-1, -1, -1, 1}));
    controls.push_back(control(ControlKind::kInstructed, {1, 1, -1, 1}));
  }
  const EvidenceWeights weights = evidence_weights(pointers(controls));
  EXPECT_LT(weights.kinds[static_cast<size_t>(QuestionKind::kUse)].beta, 0.5);
  EXPECT_EQ(evidence(controls[0].answers, weights), 0);
  EXPECT_EQ(evidence(controls[1].answers, weights), 0);
}

TEST(Evidence, NoControlsTeachNothing) {
  const EvidenceWeights weights = evidence_weights({});
  EXPECT_EQ(weights.correlation, 0);
  EXPECT_EQ(evidence(control(ControlKind::kRecalledAll, {1, -1}).answers, weights), 0);
}

}  // namespace
}  // namespace candor::belief
