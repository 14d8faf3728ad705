#include "belief/coherence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace candor::belief {
namespace {

double logit(double p) {
  return std::log(p / (1 - p));
}

struct Case {
  std::vector<Proposition> propositions;
  std::vector<ItemAnswers> answers;

  size_t add(const std::string& id, double p, double negation) {
    propositions.emplace_back().id = id;
    ItemAnswers& item = answers.emplace_back();
    item.id = id;
    item.log_odds = std::isnan(p) ? kNotAsked : logit(p);
    item.negation_log_odds = std::isnan(negation) ? kNotAsked : logit(negation);
    return propositions.size() - 1;
  }
};

TEST(Coherence, FourGapsOnPaper) {
  Case c;
  const size_t a = c.add("a", 0.9, 0.3), b = c.add("b", 0.6, 0.4), both = c.add("both", 0.8, 0.2),
               few = c.add("few", 0.1, kNotAsked);
  c.propositions[a].implies = {"b", "few", "nowhere"};
  c.propositions[both].all_of = {"a", "b"};
  c.propositions[few].all_of = {"b", "a"};
  const std::vector<CoherenceGaps> gaps = coherence_gaps(c.propositions, c.answers);
  EXPECT_NEAR(gaps[a].negation, 0.2, 1e-12);
  EXPECT_NEAR(gaps[b].negation, 0, 1e-12);
  EXPECT_TRUE(std::isnan(gaps[few].negation));
  EXPECT_NEAR(gaps[a].implication, (0.3 + 0.8) / 2, 1e-12);  // what nothing answers is passed over
  EXPECT_TRUE(std::isnan(gaps[b].implication));
  EXPECT_NEAR(gaps[both].conjunction_above, 0.8 - 0.6, 1e-12);
  EXPECT_NEAR(gaps[both].conjunction_below, 0, 1e-12);
  EXPECT_NEAR(gaps[few].conjunction_above, 0, 1e-12);
  EXPECT_NEAR(gaps[few].conjunction_below, 0.9 + 0.6 - 1 - 0.1, 1e-12);
  EXPECT_TRUE(std::isnan(gaps[a].conjunction_above));
  EXPECT_NEAR(gaps[a].mean(), (0.2 + 0.55) / 2, 1e-12);
  EXPECT_NEAR(gaps[few].mean(), (0 + 0.4) / 2, 1e-12);
  EXPECT_TRUE(std::isnan(CoherenceGaps{}.mean()));
}

// A coherent model: any probabilities that one distribution has.
TEST(Coherence, ADistributionHasNoGap) {
  Case c;
  const double a_and_b = 0.3, a = 0.5, b = 0.45;
  c.add("a", a, 1 - a);
  c.add("b", b, 1 - b);
  const size_t both = c.add("both", a_and_b, 1 - a_and_b);
  c.propositions[both].all_of = {"a", "b"};
  c.propositions[both].implies = {"a", "b"};
  for (const CoherenceGaps& gaps : coherence_gaps(c.propositions, c.answers)) EXPECT_NEAR(gaps.mean(), 0, 1e-12);
}

TEST(Coherence, ConstraintsApplyOnlyToWhatIsBelieved) {
  Case c;
  const size_t a = c.add("a", 0.9, 0.1), no = c.add("no", 0.2, 0.8), yes = c.add("yes", 0.7, 0.3);
  c.propositions[a].implies = {"no", "yes", "nowhere"};
  c.answers[a].questions = {{QuestionKind::kUse, 1.0}, {QuestionKind::kUse, kNotAsked}, {QuestionKind::kUse, -2.0}};
  c.propositions[no].implies = {"a"};
  const std::vector<double> kept = constraints_kept(c.propositions, c.answers);
  EXPECT_DOUBLE_EQ(kept[a], 0.5);      // one question and "yes" of two and two
  EXPECT_TRUE(std::isnan(kept[no]));   // not believed: nothing applies
  EXPECT_TRUE(std::isnan(kept[yes]));  // believed, but nothing depends on it
  c.propositions[yes].all_of = {"a", "no"};
  EXPECT_DOUBLE_EQ(constraints_kept(c.propositions, c.answers)[yes], 0.5);
}

// 0.8·√(0.5·0.18) = 0.24.
TEST(Coherence, NeighborConsistencyOnPaper) {
  ItemAnswers item;
  item.log_odds = logit(0.8);
  item.questions = {{QuestionKind::kUse, 0.0}, {QuestionKind::kUse, kNotAsked}, {QuestionKind::kUse, logit(0.18)}};
  EXPECT_NEAR(neighbor_consistency(item), 0.24, 1e-12);
  item.questions = {{QuestionKind::kUse, -2000.0}};  // p_i underflows, its logarithm does not
  EXPECT_EQ(neighbor_consistency(item), 0);
  item.questions.clear();
  EXPECT_TRUE(std::isnan(neighbor_consistency(item)));
  item.questions = {{QuestionKind::kUse, 1.0}};
  item.log_odds = kNotAsked;
  EXPECT_TRUE(std::isnan(neighbor_consistency(item)));
}

}  // namespace
}  // namespace candor::belief
