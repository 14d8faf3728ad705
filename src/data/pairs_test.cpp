#include "data/pairs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/dataset_type.h"

namespace candor::data {
namespace {

using ::testing::ElementsAre;
using text::Json;

// Completions of prompts; rows count from 1.
std::vector<Rollout> rollouts(std::initializer_list<Rollout> list) {
  std::vector<Rollout> result(list);
  for (size_t i = 0; i < result.size(); ++i) result[i].row = static_cast<int64_t>(i) + 1;
  return result;
}

Rollout one(const char* prompt, const char* completion, std::optional<double> reward, bool finished = true,
            std::optional<double> logprob = std::nullopt) {
  return {Json(prompt), completion, reward, logprob, finished};
}

std::vector<std::string> pairs_of(const Paired& paired) {
  std::vector<std::string> result;
  for (const Row& row : paired.rows.rows)
    result.push_back(fmt::format("{}: {} > {}", row.columns["prompt"].get<std::string>(),
                                 row.columns["chosen"].get<std::string>(), row.columns["rejected"].get<std::string>()));
  return result;
}

// Every completion has a fate, the counts add up, and every row is a good one of its type.
void expect_accounted(const std::vector<Rollout>& given, const Paired& made, DatasetType type) {
  ASSERT_EQ(made.fates.size(), given.size());
  for (const std::string& fate : made.fates) EXPECT_FALSE(fate.empty());
  int64_t counted = 0;
  for (const RowFate& fate : count_fates(given, made.fates)) counted += fate.rows;
  EXPECT_EQ(counted, static_cast<int64_t>(given.size()));
  for (const Row& row : made.rows.rows) EXPECT_THAT(row_faults(row.columns, type), ElementsAre());
}

Paired pairs(const std::vector<Rollout>& given, const PairOptions& options = {}) {
  const auto made = preference_pairs(given, options);
  EXPECT_TRUE(made) << (made ? "" : made.error().message);
  expect_accounted(given, *made, DatasetType::kPreference);
  return *made;
}

TEST(PreferencePairs, BestAgainstWorstOfEachPrompt) {
  const auto given = rollouts(
      {one("p", "a", 0.5), one("q", "x", 1), one("p", "b", 1), one("p", "c", 0), one("q", "y", 0), one("p", "d", 0.2)});
  const Paired made = pairs(given);
  EXPECT_THAT(pairs_of(made), ElementsAre("p: b > c", "q: x > y"));
  EXPECT_EQ(made.rows.rows[0].columns["score_chosen"], 1.0);
  EXPECT_EQ(made.rows.rows[0].columns["score_rejected"], 0.0);
  EXPECT_THAT(made.fates, ElementsAre("not used: in no pair of its prompt", "chosen", "chosen", "rejected", "rejected",
                                      "not used: in no pair of its prompt"));
}

TEST(PreferencePairs, OfEqualRewardsTheEarlier) {
  EXPECT_THAT(pairs_of(pairs(rollouts({one("p", "a", 0), one("p", "b", 1), one("p", "c", 1), one("p", "d", 0)}))),
              ElementsAre("p: b > a"));
}

TEST(PreferencePairs, AllThatDiffer) {
  const auto given = rollouts({one("p", "a", 0), one("p", "b", 0.5), one("p", "c", 1), one("p", "d", 1)});
  const Paired made = pairs(given, {.pairing = Pairing::kAll});
  EXPECT_THAT(pairs_of(made), ElementsAre("p: b > a", "p: c > a", "p: c > b", "p: d > a", "p: d > b"));
  EXPECT_THAT(made.fates, ElementsAre("rejected", "chosen and rejected", "chosen", "chosen"));
  EXPECT_THAT(pairs_of(pairs(given, {.pairing = Pairing::kAll, .margin = 0.75})), ElementsAre("p: c > a", "p: d > a"));
}

TEST(PreferencePairs, HardNegativesAreTheLikeliestWrongOnes) {
  const auto given = rollouts({one("p", "a", 1, true, -9), one("p", "b", 0, true, -7), one("p", "c", 0, true, -2),
                               one("p", "d", 0.9, true, -1)});
  EXPECT_THAT(pairs_of(pairs(given, {.pairing = Pairing::kHard, .margin = 0.5})), ElementsAre("p: a > c"));
  EXPECT_EQ(
      preference_pairs(rollouts({one("p", "a", 1)}), {.pairing = Pairing::kHard}).error().message,
      "[pairs] row 1 has no log-probabilities, by which hard negatives are chosen. candor generate writes them as "
      "\"logprobs\".");
}

TEST(PreferencePairs, EveryWayToBeDropped) {
  const auto given = rollouts({one("p", "a", 1), one("p", "a", 1), one("p", " \n", 0), one("p", "b", std::nullopt),
                               one("p", "c", 0),                              // a > c
                               one("same", "a", 0.5), one("same", "b", 0.5),  //
                               one("alone", "a", 1),                          //
                               one("cut", "a", 1, false), one("cut", "b", 0)});
  const Paired made = pairs(given);
  EXPECT_THAT(pairs_of(made), ElementsAre("p: a > c"));
  const char* same = "dropped: all completions of its prompt have the same reward";
  const char* cut = "dropped: the better completions of its prompt were cut off";
  EXPECT_THAT(made.fates, ElementsAre("chosen", "dropped: repeats a completion of its prompt",
                                      "dropped: its completion is empty", "dropped: it has no reward", "rejected", same,
                                      same, "dropped: the only completion of its prompt", cut, cut));
  const auto close = rollouts({one("p", "a", 1), one("p", "b", 0.8)});
  EXPECT_EQ(pairs(close, {.margin = 0.5}).fates[0], "dropped: no two completions of its prompt are the margin apart");
  Rollout nul = one("p", "b", 0);
  nul.completion += '\0';
  EXPECT_EQ(pairs(rollouts({one("p", "a", 1), nul})).fates[1], "dropped: its completion holds a NUL character");
}

TEST(PreferencePairs, WhatWasCutOffMayBeRejectedAndOnRequestChosen) {
  const auto given = rollouts({one("p", "a", 1, false), one("p", "b", 0.5), one("p", "c", 0, false)});
  EXPECT_THAT(pairs_of(pairs(given)), ElementsAre("p: b > c"));
  EXPECT_THAT(pairs_of(pairs(given, {.cut_off_too = true})), ElementsAre("p: a > c"));
  const auto equal = rollouts({one("p", "a", 1, false), one("p", "b", 1), one("p", "c", 0)});
  EXPECT_THAT(pairs_of(pairs(equal, {.cut_off_too = true})), ElementsAre("p: b > c"));
}

TEST(PreferencePairs, ConversationsStayConversations) {
  const Json prompt = Json::parse(R"([{"role":"user","content":"2+2?"}])");
  auto given = rollouts({{prompt, "4", 1.0}, {prompt, "5", 0.0}});
  const Paired made = pairs(given);
  EXPECT_EQ(made.rows.rows[0].columns["chosen"].dump(), R"([{"role":"assistant","content":"4"}])");
  EXPECT_EQ(made.rows.rows[0].columns["prompt"], prompt);
}

TEST(BestOf, KeepsOneOfEachPrompt) {
  const auto given = rollouts({one("p", "a", 0), one("p", "b", 1), one("p", "c", 2, false), one("q", "x", 0),
                               one("q", "y", -1), one("r", "z", 3, false)});
  const Paired made = best_of(given, {.least = 0.5});
  expect_accounted(given, made, DatasetType::kPromptCompletion);
  ASSERT_EQ(made.rows.rows.size(), 1u);
  EXPECT_EQ(made.rows.rows[0].columns.dump(), R"({"prompt":"p","completion":"b","score":1.0})");
  const char* small = "dropped: the best completion of its prompt has too small a reward";
  EXPECT_THAT(made.fates, ElementsAre("not used: not the best of its prompt", "kept", "dropped: it was cut off", small,
                                      small, "dropped: it was cut off"));
  EXPECT_EQ(best_of(given, {.cut_off_too = true, .least = -9}).rows.rows.size(), 3u);
}

TEST(Labelled, GoodFromTheLeastOn) {
  const auto given =
      rollouts({one("p", "a", 0.5), one("p", "b", 0.4, false), one("q", "x", 1, false), one("q", "y", std::nullopt)});
  const Paired made = labelled(given, {.least = 0.5});
  expect_accounted(given, made, DatasetType::kUnpaired);
  EXPECT_THAT(made.fates, ElementsAre("labelled true", "labelled false", "dropped: good, but it was cut off",
                                      "dropped: it has no reward"));
  EXPECT_EQ(made.rows.rows[1].columns.dump(), R"({"prompt":"p","completion":"b","label":false,"score":0.4})");
}

TEST(CountFates, NamesTheFirstRows) {
  const auto given = rollouts({one("p", "a", 1), one("p", "b", 0), one("q", "c", 0)});
  const auto fates = count_fates(given, {"x", "y", "x"});
  ASSERT_EQ(fates.size(), 2u);
  EXPECT_EQ(fates[0].rows, 2);
  EXPECT_THAT(fates[0].first, ElementsAre(1, 3));
}

}  // namespace
}  // namespace candor::data
