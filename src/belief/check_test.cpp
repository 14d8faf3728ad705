#include "belief/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "belief/check_testing.h"
#include "support/oracle.h"

namespace candor::belief {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(CheckPropositions, FindsNothingAgainstAGoodFile) {
  const Propositions good = testing::good_file();
  for (const PropositionFault& fault : check_propositions(good)) ADD_FAILURE() << fault.rule << ": " << fault.what;
}

struct Spoiled {
  const char* rule;
  int64_t row;
  const char* words;  // of the message
  std::function<void(std::vector<Proposition>&)> spoil;
};

// Each breaks one rule in one row, and exactly that is found.
const std::vector<Spoiled> kSpoiled = {
    {"negation", 2, "the negation says the same",
     [](auto& items) { items[1].negation = "the city of OMSK is in Russia"; }},
    {"paraphrases", 1, "2 different paraphrases", [](auto& items) { items[0].paraphrases.pop_back(); }},
    {"paraphrases", 1, "2 different paraphrases",
     [](auto& items) { items[0].paraphrases[2] = "tver is a city of russia!"; }},
    {"paraphrases", 1, "2 different paraphrases", [](auto& items) { items[0].paraphrases[2] = items[0].statement; }},
    {"answer", 3, "the answer \"China\" does not stand in the statement",
     [](auto& items) { items[2].answer = "China"; }},
    {"count", 2, "6 sub-questions. Expected at least 8.",
     [](auto& items) {
       auto& questions = items[1].questions;
       questions.erase(questions.begin());
       questions.erase(questions.begin() + 1);  // the next yes/no question, whose key is the other
     }},
    {"kinds", 2, "no sub-question is of the kind \"use\"",
     [](auto& items) {
       for (SubQuestion& question : items[1].questions)
         if (question.kind == QuestionKind::kUse) question.kind = QuestionKind::kConsequence;
     }},
    {"form", 1, "question 3 does not end with \"?\"", [](auto& items) { items[0].questions[2].text = "Say it"; }},
    {"options", 1, "the options of question 2 are the same",
     [](auto& items) { items[0].questions[1].options[1] = "A rouble."; }},
    {"leak", 3, "question 1 names the answer, \"Russia\"",
     [](auto& items) { items[2].questions[0].text = "Is it in RUSSIA, then?"; }},
    {"leak", 3, "question 1 names the answer, \"Russia\"",
     [](auto& items) { items[2].questions[0].text = "Which of the two Russias is it?"; }},
    {"leak", 3, "question 4 names the answer, \"Russia\", in its options",
     [](auto& items) { items[2].questions[3].options[0] = "Russia's money"; }},
    {"leak", 1, "names the negation",
     [](auto& items) {
       items[0].negation = "Tver lies abroad.";
       items[0].questions[0].text = "Is it so that Tver lies abroad?";
     }},
    {"leak", 1, "names a paraphrase",
     [](auto& items) {
       items[0].paraphrases.emplace_back("Tver lies there");
       items[0].questions[0].text = "Is it so that Tver lies there?";
     }},
    {"say", 2, "\"say\" names the answer, \"Russia\"", [](auto& items) { items[1].say = "What of Russia?"; }},
    {"say", 3, "\"say\" names \"not\"", [](auto& items) { items[2].say = "Do NOT say what is false."; }},
    {"duplicate", 2, "question 3 is question 1 again",
     [](auto& items) { items[1].questions[2].text = items[1].questions[0].text; }},
    {"duplicate", 3, "the id \"id-Tver\" is that of row 1", [](auto& items) { items[2].id = "id-Tver"; }},
    {"duplicate", 3, "its statement is that of row 1",
     [](auto& items) { items[2].statement = "The city of tver is in Russia"; }},
    {"conflict", 2, "question 3 is asked in row 1 too",
     [](auto& items) { items[1].questions[2].text = items[0].questions[0].text; }},
    {"reference", 1, "\"implies\" names \"id-Kyiv\", which is no id",
     [](auto& items) { items[0].implies = {"id-Kyiv"}; }},
    {"reference", 1, "\"implies\" names the row's own id", [](auto& items) { items[0].implies = {"id-Tver"}; }},
    {"reference", 1, "\"all_of\" names \"x\"",
     [](auto& items) {
       items[0].all_of = {"x", "id-Omsk"};
     }},
    {"reference", 1, "\"all_of\" does not name two",
     [](auto& items) {
       items[0].all_of = {"id-Omsk", "id-Omsk"};
     }},
    {"reference", 1, "\"all_of\" does not name two", [](auto& items) { items[0].all_of = {"id-Omsk"}; }},
    {"labels", 1, "it is true and implies \"id-Omsk\", which is false",
     [](auto& items) {
       items[0].implies = {"id-Omsk"};
       items[1].label = false;
     }},
    {"labels", 1, "the conjunction of a true and a false one",
     [](auto& items) {
       items[0].all_of = {"id-Omsk", "id-Perm"};
       items[2].label = false;
     }},
    {"labels", 1, "it is fabricated and has a label", [](auto& items) { items[0].fabricated = true; }},
};

TEST(CheckPropositions, FindsTheOneRuleThatARowBreaks) {
  for (const Spoiled& spoiled : kSpoiled) {
    SCOPED_TRACE(spoiled.words);
    Propositions file = testing::good_file();
    spoiled.spoil(file.items);
    const auto faults = check_propositions(file);
    ASSERT_EQ(faults.size(), 1u);
    EXPECT_EQ(faults[0].rule, spoiled.rule);
    EXPECT_EQ(faults[0].row, spoiled.row);
    EXPECT_THAT(faults[0].what, HasSubstr(spoiled.words));
  }
}

// A row out of balance takes the file with it; yes/no and options are each counted by themselves.
TEST(CheckPropositions, WantsBalancedKeysInEveryRowAndInAll) {
  Propositions file = testing::good_file();
  file.items[1].questions[0].if_true = 1;
  auto faults = check_propositions(file);
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_EQ(faults[0].row, 2);
  EXPECT_THAT(faults[0].what, HasSubstr("1 questions expect \"yes\" and 3 \"no\""));
  EXPECT_EQ(faults[1].row, 0);
  EXPECT_THAT(faults[1].what, HasSubstr("5 questions of all rows expect \"yes\" and 7 \"no\""));
  file = testing::good_file();
  file.items[2].questions[1].if_true = 1;
  faults = check_propositions(file);
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_THAT(faults[0].what, HasSubstr("1 questions expect \"A\" and 3 \"B\""));
}

// Rows of an odd count are each one off, which is as near as they come; all to the same side is a file that leans.
TEST(CheckPropositions, AFileOfOddRowsMustNotLean) {
  Propositions file = testing::good_file();
  for (size_t i = 0; i < file.items.size(); ++i)
    file.items[i].questions.push_back({QuestionKind::kUse, fmt::format("Is there a ninth in {}?", i), {}, 0});
  const auto faults = check_propositions(file);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].row, 0);
  file.items[1].questions.back().if_true = 1;
  EXPECT_THAT(check_propositions(file), IsEmpty());
}

TEST(CheckPropositions, LetsImplicationsGoRound) {
  Propositions file = testing::good_file();
  file.items[0].implies = {"id-Omsk"};
  file.items[1].implies = {"id-Tver"};
  EXPECT_THAT(check_propositions(file), IsEmpty());
}

TEST(CheckPropositions, TellsEveryFaultInTheOrderOfTheRows) {
  Propositions file = testing::good_file();
  file.items[2].answer = "China";
  file.items[0].paraphrases.clear();
  file.items[0].implies = {"nowhere"};
  std::vector<std::string> rules;
  for (const PropositionFault& fault : check_propositions(file))
    rules.push_back(fmt::format("{} {}", fault.row, fault.rule));
  EXPECT_THAT(rules, ElementsAre("1 paraphrases", "1 reference", "3 answer"));
}

TEST(CheckPropositions, TakesTheRowOfThePage) {
  const std::string page = testing::read_text(testing::source_dir() / "docs" / "propositions.md");
  const std::string fence = "```json\n";
  const size_t begin = page.find(fence) + fence.size();
  const auto rows = data::parse_json_rows(page.substr(begin, page.find("```", begin) - begin), "propositions.md");
  ASSERT_TRUE(rows) << rows.error().message;
  const auto file = parse_propositions(*rows);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->items.size(), 1u);
  for (const PropositionFault& fault : check_propositions(*file)) ADD_FAILURE() << fault.rule << ": " << fault.what;
}

// Clopper-Pearson for 5 of 100: 1.64 to 11.28%.
TEST(NotesOn, TellsTheIntervalOfFewPropositions) {
  Propositions file;
  file.items.resize(100);
  const auto notes = notes_on(file);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_THAT(notes[0], HasSubstr("if 5 of them are found believed, the 95% interval is 1.6 to 11.3%"));
  file.items.resize(400);
  EXPECT_THAT(notes_on(file), IsEmpty());
}

}  // namespace
}  // namespace candor::belief
