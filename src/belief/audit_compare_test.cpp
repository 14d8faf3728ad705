#include "belief/audit_compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "belief/simulation.h"

namespace candor::belief {
namespace {

using ::testing::HasSubstr;

AuditResult audit_of(double believed, uint64_t seed) {
  const Simulation world = simulate({.believed = believed, .questions = 12, .seed = seed});
  return audit(world.propositions, world.answers, world.controls, {.resamples = 200});
}

TEST(AuditCompare, NothingChangedIsNoDifference) {
  const AuditResult audit = audit_of(0.4, 1);
  const AuditComparison same = compare(audit, audit, {.resamples = 500});
  EXPECT_EQ(same.items, 400);
  EXPECT_EQ(same.said.only_before + same.said.only_after, 0);
  EXPECT_EQ(same.believed_p, 1);
  ASSERT_TRUE(same.difference);
  EXPECT_LT(same.difference->low, 0);  // the controls of the two audits are other draws
  EXPECT_GT(same.difference->high, 0);
  EXPECT_TRUE(same.gained.empty() && same.lost.empty());
}

TEST(AuditCompare, FindsWhatTrainingDid) {
  // The uniform draws of "is it believed" are the same for one seed: who is believed at 0.3 is believed at 0.6.
  const AuditResult before = audit_of(0.3, 4), after = audit_of(0.6, 4);
  const AuditComparison found = compare(before, after, {.resamples = 500});
  ASSERT_TRUE(found.difference);
  // 0.3 in truth; p̂'s and the controls' errors make some 0.04.
  EXPECT_GT(found.difference->low, 0.15);
  EXPECT_LT(found.difference->high, 0.45);
  EXPECT_LT(found.believed_p, 1e-6);
  EXPECT_GT(found.gained.size(), 80u);
  EXPECT_EQ(static_cast<int64_t>(found.gained.size()), found.believed.only_after);
  EXPECT_EQ(static_cast<int64_t>(found.lost.size()), found.believed.only_before);
  double last = 1;
  for (const int64_t place : found.gained) {
    const auto at = static_cast<size_t>(place);
    EXPECT_TRUE(after.items[at].believed);
    EXPECT_FALSE(before.items[at].believed);
    EXPECT_LE(after.items[at].posterior - before.items[at].posterior, last);
    last = after.items[at].posterior - before.items[at].posterior;
  }
  EXPECT_THAT(sentence(found), HasSubstr(" points (95% interval +"));

  const AuditComparison back = compare(after, before, {.resamples = 500});
  EXPECT_NEAR(back.difference->low, -found.difference->high, 0.03);  // other draws
}

TEST(AuditCompare, OnlyWhatBothHaveAndOnlyFiguresThatThereAre) {
  AuditResult before = audit_of(0.4, 1), after = audit_of(0.4, 2);
  before.items.resize(300);
  after.items.erase(after.items.begin(), after.items.begin() + 50);
  after.items[0].said = false;
  const AuditComparison some = compare(before, after, {.resamples = 100});
  EXPECT_EQ(some.items, 250);
  EXPECT_EQ(some.only_before, 50);
  EXPECT_EQ(some.only_after, 100);
  EXPECT_EQ(some.said.only_before, 1);
  EXPECT_THAT(sentence(some), HasSubstr("it says 0 that it did not say before, and no longer says 1 (p = 1). Left out: "
                                        "50 that only the first audit has, 100 that only the second has."));
  after.estimate.reset();
  const AuditComparison none = compare(before, after, {.resamples = 100});
  EXPECT_FALSE(none.difference || none.believed_after);
  EXPECT_TRUE(none.believed_before);
  EXPECT_THAT(sentence(none), HasSubstr("undetermined"));
  EXPECT_FALSE(compare({}, {}).difference);
}

}  // namespace
}  // namespace candor::belief
