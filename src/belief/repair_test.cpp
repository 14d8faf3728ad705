#include "belief/repair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "belief/check.h"
#include "belief/check_testing.h"
#include "belief/questions.h"
#include "belief/world.h"

namespace candor::belief {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using text::Json;

const Json kAudit = {{"items",
                      {{{"id", "id-Tver"}, {"said", true}, {"believed", false}},
                       {{"id", "id-Omsk"}, {"said", true}, {"believed", true}},
                       {{"id", "id-Perm"}, {"said", false}, {"believed", false}}}}};

TEST(SaidNotBelieved, ReadsTheAudit) {
  EXPECT_THAT(*said_not_believed(kAudit), ElementsAre("id-Tver"));
  EXPECT_THAT(said_not_believed(Json::array()).error().message, HasSubstr("expected what candor audit writes"));
  Json broken = kAudit;
  broken["items"][1].erase("believed");
  EXPECT_THAT(said_not_believed(broken).error().message,
              HasSubstr("item 2 of the audit: expected \"id\", \"said\" and \"believed\""));
}

std::set<std::string> prompts_of(const data::Rows& rows) {
  std::set<std::string> prompts;
  for (const data::Row& row : rows.rows) prompts.insert(row.columns["prompt"][0]["content"].get<std::string>());
  return prompts;
}

TEST(Repair, TrainsOneHalfAndLeavesTheOther) {
  const Propositions file = testing::good_file();
  const auto made = repair(file, {"id-Tver"});
  ASSERT_TRUE(made) << made.error().message;
  ASSERT_EQ(made->manifest.size(), 1u);
  EXPECT_EQ(made->manifest[0]["trained"].size(), 4u);
  EXPECT_EQ(made->manifest[0]["held_back"].size(), 4u);
  ASSERT_EQ(made->held_back.size(), 3u);
  EXPECT_EQ(made->held_back[1].questions.size(), 8u);
  const std::set<std::string> prompts = prompts_of(made->rows);
  const std::vector<bool> trains = training_half(file.items[0]);
  for (size_t i = 0; i < trains.size(); ++i) {
    const SubQuestion& question = file.items[0].questions[i];
    for (const AnswerOrder order : kAnswerOrders)
      EXPECT_EQ(prompts.contains(sub_question(question, order)), trains[i]) << question.text;
    EXPECT_EQ(prompts.contains(question.text), trains[i]) << question.text;
  }
  EXPECT_EQ(made->rows.rows.size(), 4u * 3u);
  // The sentence itself is not drilled: it stands in no prompt.
  for (const std::string& prompt : prompts) EXPECT_EQ(prompt.find(file.items[0].statement), std::string::npos);
}

TEST(Repair, TeachesTheSideOfTheStatement) {
  Propositions file = testing::good_file();
  const auto made = repair(file, {"id-Omsk"});
  std::map<std::string, std::string> answers;
  for (const data::Row& row : made->rows.rows)
    answers[row.columns["prompt"][0]["content"].get<std::string>()] =
        row.columns["completion"][0]["content"].get<std::string>();
  const std::vector<bool> trains = training_half(file.items[1]);
  for (size_t i = 0; i < trains.size(); ++i) {
    if (!trains[i]) continue;
    const SubQuestion& question = file.items[1].questions[i];
    for (const AnswerOrder order : kAnswerOrders)
      EXPECT_EQ(answers.at(sub_question(question, order)), answer_word(question, question.if_true, order));
    EXPECT_THAT(answers.at(question.text), HasSubstr(", since this is so: The city of Omsk is in Russia."));
  }
}

// With four of a kind both halves are files that an audit takes: eight questions of all kinds, balanced.
TEST(Repair, LeavesAWholeAuditOfSixteenQuestions) {
  const World world = *make_world({.propositions = 100, .controls = 0, .per_kind = 4, .seed = 2});
  const Propositions file{"world", propositions_of(world.audited)};
  std::set<std::string> ids;
  for (const Proposition& item : file.items)
    if (!item.fabricated && *item.label) ids.insert(item.id);
  const auto made = repair(file, ids);
  ASSERT_TRUE(made) << made.error().message;
  for (const PropositionFault& fault : check_propositions({"held back", made->held_back}))
    ADD_FAILURE() << fault.row << " " << fault.rule << ": " << fault.what;
  for (const Proposition& item : made->held_back)
    if (ids.contains(item.id)) {
      EXPECT_EQ(item.questions.size(), 8u);
    }
}

TEST(Repair, DrawsTheHalvesByTheId) {
  const Proposition tver = testing::good_proposition("Tver", 1);
  Proposition other = tver;
  EXPECT_EQ(training_half(tver), training_half(other));
  std::set<std::vector<bool>> halves;
  for (int i = 0; i < 20; ++i) {
    other.id = fmt::format("id-{}", i);
    halves.insert(training_half(other));
  }
  EXPECT_GT(halves.size(), 1u);
}

TEST(Repair, RefusesAndCounts) {
  Propositions file = testing::good_file();
  EXPECT_THAT(repair(file, {"x"}).error().message, HasSubstr("the audit's \"x\" is no id of rows.jsonl"));
  EXPECT_THAT(repair(file, {}).error().message, HasSubstr("nothing to repair"));
  file.items[0].label = false;
  const auto made = repair(file, {"id-Tver", "id-Omsk"});
  ASSERT_TRUE(made);
  EXPECT_EQ(made->manifest.size(), 1u);
  EXPECT_THAT(made->notes, ElementsAre(HasSubstr("1 propositions are said, not believed, and false or fabricated")));
  file.items[1].label.reset();
  file.items[1].fabricated = true;
  EXPECT_THAT(repair(file, {"id-Tver", "id-Omsk"}).error().message, HasSubstr("nothing to repair"));
}

TEST(Repair, SaysWhyAnAuditIsAGuess) {
  EXPECT_EQ(undetermined({{"undetermined", "Too few controls."}}), "Too few controls.");
  EXPECT_EQ(undetermined(kAudit), "");
  EXPECT_EQ(undetermined(Json::array()), "");
}

}  // namespace
}  // namespace candor::belief
