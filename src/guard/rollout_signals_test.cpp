#include "guard/rollout_signals.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <map>

#include "guard/guard.h"
#include "support/oracle.h"

namespace candor::guard {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Two prompts with three completions each.
struct Rollouts {
  int64_t group_size = 3;
  std::vector<double> rewards = {1, 0, 0, 1, 1, 0};
  std::vector<std::string> names = {"accuracy", "format"};
  std::vector<double> parts = {1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1};
  std::vector<std::string> texts = {"abcabcabcabc", "b", "b", "c", "d", "e"};
  std::vector<std::vector<int32_t>> ids = {{1, 2, 3, 1, 2, 3}, {4, 5}, {4}, {1, 1, 1}, {7, 8, 9, 10}, {6, 7}};
  std::vector<uint8_t> finished = {1, 1, 1, 1, 0, 1};
  std::vector<double> entropies = {1, 2, 3};
  std::vector<double> kl = {0.5, -0.1, kNaN, 0.2, 0.4, 0.5};
  std::vector<double> gold = {1, 0, 0, 0, 1, 0};

  RolloutView view() const {
    RolloutView view;
    view.group_size = group_size;
    view.rewards = rewards;
    view.parts = parts;
    view.part_names = names;
    view.texts = texts;
    view.ids.assign(ids.begin(), ids.end());
    view.finished = finished;
    view.entropies = entropies;
    view.kl = kl;
    view.kl_exact = 0.25;
    view.gold = gold;
    return view;
  }
};

double value(const algorithms::Metrics& metrics, const std::string& name) {
  for (const auto& metric : metrics)
    if (metric.name == name) return metric.value;
  return kNaN;  // absent: not defined
}

bool has(const algorithms::Metrics& metrics, const std::string& name) {
  for (const auto& metric : metrics)
    if (metric.name == name) return true;
  return false;
}

// Lengths 6 2 1 | 3 4 2, rewards 1 0 0 | 1 1 0. About the means of the groups, 3 and 3, 1/3 and 2/3:
//   Σ length·reward = 3·2/3 + 1/3 + 2/3 | 0 + 1/3 + 2/3 = 3 + 1, Σ length² = 14 + 2, Σ reward² = 2/3 + 2/3,
//   so r = 4 / √(16 · 4/3).
std::map<std::string, double> by_hand() {
  return {{"guard/length_correlation", 4 / std::sqrt(16 * 4.0 / 3)},
          {"guard/truncated_gap", 1 - 2.0 / 5},
          {"guard/distinct_1", (0.5 + 1 + 1.0 / 3 + 1 + 1) / 5},
          {"guard/distinct_2", (3.0 / 5 + 0.5 + 1) / 3},
          {"guard/repeated_ngram", (3.0 / 6 + 0 + 0 + 2.0 / 3 + 0 + 0) / 6},
          {"guard/unique_completions", (2.0 / 3 + 1) / 2},
          {"guard/entropy", 2},
          {"guard/ensemble_disagreement", kNaN},
          // Format 1 1 0 0 1 1, accuracy 1 0 0 1 1 0: the second and the last have the form alone.
          {"guard/hollow_format", 2.0 / 6},
          // Gold rejects rows 2, 3, 4 and 6, of which the reward pays the fourth.
          {"guard/accept_wrong", 1.0 / 4},
          {"guard/paid_wrong", 1.0 / 6},
          // Laplace's share is 2/8; the rows and the groups' means say 1/6, which is less.
          {"guard/paid_wrong_error", std::sqrt(0.25 * 0.75 / 6)},
          // Gold about its groups: 2/3 -1/3 -1/3 | -1/3 2/3 -1/3: Σ = 2/3 + 1/3; both have Σ² = 4/3.
          {"guard/gold_correlation", 1 / (4.0 / 3)},
          {"guard/kl", 1.5 / 5},
          {"guard/kl_exact", 0.25},
          {"gold", 2.0 / 6},
          {"gold/std", std::sqrt((2 * 4.0 / 9 + 4 * 1.0 / 9) / 5)},
          // Both groups have the mean 1/3, so the rows' error is the larger.
          {"gold/standard_error", std::sqrt((2 * 4.0 / 9 + 4 * 1.0 / 9) / 5 / 6)}};
}

std::string mismatch(const Rollouts& rollouts) {
  const auto found = rollout_signals(rollouts.view());
  std::string wrong;
  for (const auto& [name, want] : by_hand()) {
    const double got = value(found, name);
    // Sums of a few doubles in another order.
    if (std::isnan(want) ? !std::isnan(got) : !(std::abs(got - want) <= 1e-14))
      wrong += name + " is " + std::to_string(got) + ", not " + std::to_string(want) + "; ";
  }
  return wrong;
}

TEST(RolloutSignals, AWorkedExampleAndItsTwins) {
  EXPECT_EQ(mismatch(Rollouts()), "");
  const std::vector<std::pair<std::string, std::function<void(Rollouts&)>>> twins{
      {"one group of all prompts", [](Rollouts& r) { r.group_size = 6; }},
      {"gold of the row before", [](Rollouts& r) { r.gold = {0, 1, 0, 0, 0, 1}; }},
      {"gold as the reward", [](Rollouts& r) { r.gold = r.rewards; }},
      {"an abstention counts as 0", [](Rollouts& r) { r.kl[2] = 0; }},
      {"parts by column", [](Rollouts& r) { r.parts = {1, 0, 0, 1, 1, 0, 1, 1, 0, 0, 1, 1}; }},
      {"form and substance swapped", [](Rollouts& r) { std::swap(r.names[0], r.names[1]); }},
      {"1 = cut off", [](Rollouts& r) { r.finished = {0, 0, 0, 0, 1, 0}; }},
  };
  for (const auto& [name, break_it] : twins) {
    Rollouts twin;
    break_it(twin);
    EXPECT_NE(mismatch(twin), "") << name;
  }
}

TEST(RolloutSignals, WhatIsNotDefinedIsNotThere) {
  Rollouts rollouts;
  RolloutView view = rollouts.view();
  const std::vector<std::string> no_names;
  view.kl = view.entropies = view.gold = view.parts = {};
  view.part_names = no_names;
  view.finished = {};
  view.kl_exact = kNaN;
  const std::vector<double> unscored(6, kNaN);
  view.rewards = unscored;
  const auto signals = rollout_signals(view);
  for (const char* name : {"guard/length_correlation", "guard/truncated_gap", "guard/entropy", "guard/hollow_format",
                           "guard/accept_wrong", "guard/paid_wrong", "guard/paid_wrong_error", "guard/gold_correlation",
                           "guard/kl", "guard/kl_exact", "gold", "gold/std", "gold/standard_error"})
    EXPECT_FALSE(has(signals, name)) << name;
  for (const char* name : {"guard/distinct_2", "guard/compression_ratio", "guard/repeated_ngram"})
    EXPECT_TRUE(has(signals, name)) << name;
  EXPECT_TRUE(rollout_signals({}).empty());
  // A held-out reward that was asked and abstained has a column.
  view.gold = unscored;
  const auto asked = rollout_signals(view);
  EXPECT_TRUE(has(asked, "gold") && std::isnan(value(asked, "gold")));
  EXPECT_FALSE(has(asked, "gold/standard_error") || has(asked, "guard/paid_wrong"));
}

TEST(RolloutSignals, ThePageOfMetricsHasThemAll) {
  const std::string page = candor::testing::read_text(candor::testing::source_dir() / "docs" / "metrics.md");
  const Rollouts rollouts;
  RolloutView view = rollouts.view();
  view.disagreement = rollouts.kl;
  algorithms::Metrics all = rollout_signals(view);
  EXPECT_EQ(all.size(), 19u);
  for (const auto& metric : Guard().metrics()) all.push_back(metric);
  for (const auto& metric : all) EXPECT_NE(page.find("| `" + metric.name + "` |"), std::string::npos) << metric.name;
}

TEST(RolloutSignals, ThePageOfTheGuardHasEverySignal) {
  const std::string page = candor::testing::read_text(candor::testing::source_dir() / "docs" / "guard.md");
  for (const Rule& rule : default_rules()) {
    EXPECT_NE(page.find(fmt::format("| `{}` | `{}`", rule.signal, rule.metric)), std::string::npos) << rule.signal;
    EXPECT_NE(page.find(fmt::format("| {} |", rule.family)), std::string::npos) << rule.family;
  }
  for (const std::string_view signal :
       {kParts, kNotFinite, kGap, kGradientSpike, kLogRatio, kKlSpike, kKlBudget, kGoldFalls, kBeyondOptimum})
    EXPECT_NE(page.find(fmt::format("`{}`", signal)), std::string::npos) << signal;
}

TEST(RolloutSignals, OnlyAVerifierAcceptsAndRejects) {
  Rollouts rollouts;
  rollouts.gold = {5.5, -3, 0.1, 2, 0, 0};  // a reward model's scores
  const auto signals = rollout_signals(rollouts.view());
  EXPECT_TRUE(std::isnan(value(signals, "guard/paid_wrong")));
  EXPECT_TRUE(std::isnan(value(signals, "guard/accept_wrong")));
  EXPECT_FALSE(std::isnan(value(signals, "guard/gold_correlation")));
  EXPECT_EQ(value(signals, "guard/hollow_format"), 2.0 / 6);  // accuracy is still the substance
}

TEST(RolloutSignals, GroupsThatDisagreeWidenTheError) {
  Rollouts rollouts;
  rollouts.gold = {1, 1, 1, 0, 0, 0};
  // The groups' means are 1 and 0: deviation √½, over √2 groups ½; the rows alone would say √0.3 / √6.
  EXPECT_NEAR(value(rollout_signals(rollouts.view()), "gold/standard_error"), 0.5, 1e-15);  // one rounding
}

TEST(RolloutSignals, CorrelationWithoutSpreadIsNotDefined) {
  const std::vector<double> flat = {0.1, 0.1, 0.1, 0.7, 0.7, 0.7}, lengths = {1, 2, 3, 4, 5, 6};
  EXPECT_TRUE(std::isnan(correlation_within_groups(flat, lengths, 3)));
  EXPECT_NEAR(correlation_within_groups(flat, lengths, 6), 0.87831006565368, 1e-14);  // NumPy's corrcoef
  EXPECT_TRUE(std::isnan(correlation_within_groups({}, {}, 0)));
}

}  // namespace
}  // namespace candor::guard
