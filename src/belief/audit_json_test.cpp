#include "belief/audit_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "belief/simulation.h"

namespace candor::belief {
namespace {

using files::Json;
using ::testing::HasSubstr;

Simulation small_world() {
  Simulation world = simulate({.propositions = 60, .positives = 80, .negatives = 80, .questions = 12, .seed = 1});
  world.propositions[2].questions[1].options = {"a mile", "a metre"};
  world.answers[2].questions[1].log_odds = -9;
  world.answers[4].honesty = Honesty::kLie;
  world.answers[4].pressure = {{Pressure::kPeers, 3, 1.0}};
  return world;
}

AuditResult audit_of(const Simulation& world) {
  return audit(world.propositions, world.answers, world.controls, {.resamples = 200});
}

TEST(AuditJson, HoldsEverythingByName) {
  const Simulation world = small_world();
  const AuditResult result = audit_of(world);
  ASSERT_TRUE(result.estimate) << result.undetermined;
  const Json json = audit_json(result, world.propositions);
  EXPECT_EQ(json["said"], 60);
  EXPECT_EQ(json["believed"], result.estimate->believed);
  EXPECT_EQ(json["interval"][1], result.estimate->interval.high);
  EXPECT_EQ(json["good_liar_rate"], 1 - result.estimate->believed);
  EXPECT_EQ(json["sensitivity"]["of"], 80);
  EXPECT_EQ(json["controls"].size(), 6u);
  EXPECT_EQ(json["controls"][4]["kind"], "parroted");
  EXPECT_EQ(json["controls"][4]["believes"], false);
  EXPECT_EQ(json["topics"].size(), 4u);
  EXPECT_EQ(json["reliability"].size(), 10u);
  EXPECT_EQ(json["instrument"]["questions"][3]["kind"], "use");
  EXPECT_EQ(json["instrument"]["scores"][0]["score"], "coherence");
  EXPECT_EQ(json["pressure"][0]["kind"], "peers");
  EXPECT_EQ(json["honesty"]["lie"], 1);
  ASSERT_EQ(json["items"].size(), 60u);
  const Json& item = json["items"][2];
  EXPECT_EQ(item["id"], "p2");
  EXPECT_EQ(item["posterior"], result.items[2].posterior);
  EXPECT_EQ(item["truth"], nullptr);
  EXPECT_EQ(item["honesty"], nullptr);
  EXPECT_EQ(item["gaps"]["implication"], nullptr);
  EXPECT_EQ(item["betrayals"][0]["question"], "Question 1?");
  EXPECT_EQ(item["betrayals"][0]["answer"], "a metre");  // if_true is A
  EXPECT_EQ(item["betrayals"][0]["kind"], "consequence");
  EXPECT_EQ(json["items"][4]["honesty"], "lie");
  if (!json["most_dishonest"].empty()) {
    EXPECT_EQ(json["most_dishonest"][0], result.items[static_cast<size_t>(result.most_dishonest[0])].id);
  }
}

TEST(AuditJson, ReadsBackWhatAComparisonNeeds) {
  const Simulation world = small_world();
  const AuditResult result = audit_of(world);
  const Json json = Json::parse(audit_json(result, world.propositions).dump());
  const auto read = parse_audit(json, "audit.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->said, result.said);
  EXPECT_EQ(read->sensitivity.value, result.sensitivity.value);
  EXPECT_EQ(read->specificity.interval.low, result.specificity.interval.low);
  EXPECT_EQ(read->estimate->believed, result.estimate->believed);
  EXPECT_EQ(read->estimate->interval.high, result.estimate->interval.high);
  ASSERT_EQ(read->items.size(), result.items.size());
  for (size_t i = 0; i < read->items.size(); ++i) {
    EXPECT_EQ(read->items[i].id, result.items[i].id);
    EXPECT_EQ(read->items[i].posterior, result.items[i].posterior);
    EXPECT_EQ(read->items[i].believed, result.items[i].believed);
    EXPECT_TRUE(std::isnan(read->items[i].truth));
  }
  // The comparison is the same from the file as from memory.
  EXPECT_EQ(comparison_json(compare(*read, result), result), comparison_json(compare(result, result), result));
}

TEST(AuditJson, AnUndeterminedAuditHasNoFigure) {
  Simulation world = small_world();
  world.controls.resize(10);
  const AuditResult result = audit_of(world);
  const Json json = audit_json(result, world.propositions);
  for (const char* key : {"believed", "interval", "good_liar_rate", "uncorrected", "standard_error"})
    EXPECT_EQ(json[key], nullptr) << key;
  EXPECT_THAT(json["undetermined"].get<std::string>(), HasSubstr("at least 30 are needed"));
  const auto read = parse_audit(json, "a");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_FALSE(read->estimate);
  EXPECT_EQ(read->undetermined, result.undetermined);
}

TEST(AuditJson, WhatIsNoAuditIsRefusedByName) {
  const Simulation world = small_world();
  const Json good = audit_json(audit_of(world), world.propositions);
  const std::vector<std::pair<std::function<void(Json&)>, std::string>> cases{
      {[](Json& json) { json = 3; }, "\"propositions\" is not a whole number from 0 on"},
      {[](Json& json) { json["said"] = -1; }, "\"said\" is not a whole number from 0 on"},
      {[](Json& json) { json["said"] = 1e300; }, "\"said\" is not a whole number from 0 on"},
      {[](Json& json) { json["confidence"] = 2; }, "\"confidence\" is not between 0 and 1"},
      {[](Json& json) { json["sensitivity"]["count"] = 1000; }, "\"count\" of \"sensitivity\" is not at most \"of\""},
      {[](Json& json) { json["sensitivity"]["of"] = int64_t{1} << 50; },
       "\"of\" of \"sensitivity\" is not at most 100,000"},
      {[](Json& json) { json["sensitivity"]["count"] = 0; },
       "\"believed\" is not possible with this sensitivity and specificity"},
      {[](Json& json) { json["interval"] = {1}; }, "\"interval\" is not two numbers"},
      {[](Json& json) { json.erase("items"); }, "\"items\" is not a list"},
      {[](Json& json) { json["items"][3]["said"] = "yes"; }, "\"said\" of item 4 is not true or false"},
      {[](Json& json) { json["items"][0] = nullptr; }, "\"id\" of item 1 is not a text"},
  };
  for (const auto& [spoil, message] : cases) {
    Json json = good;
    spoil(json);
    const auto read = parse_audit(json, "old/audit.json");
    ASSERT_FALSE(read) << message;
    EXPECT_EQ(read.error().message,
              "[audit] old/audit.json: " + message + ". Is it an audit.json as candor audit writes it?");
  }
}

}  // namespace
}  // namespace candor::belief
