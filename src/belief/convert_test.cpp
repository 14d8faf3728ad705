#include "belief/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "belief/check.h"
#include "belief/countries.h"
#include "belief/words.h"
#include "support/oracle.h"

namespace candor::belief {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::filesystem::path truth_file(const std::string& name) {
  return testing::shared_dir() / "data" / "geometry-of-truth" / name;
}

data::Rows csv(std::string_view bytes) {
  auto rows = data::parse_csv_rows(bytes, "rows.csv");
  EXPECT_TRUE(rows) << rows.error().message;
  return *std::move(rows);
}

void expect_no_fault(const std::vector<Proposition>& items) {
  const auto faults = check_propositions({"made", items});
  EXPECT_TRUE(faults.empty()) << faults.size() << " faults, the first in row " << faults[0].row << ": "
                              << faults[0].rule << ": " << faults[0].what;
}

std::map<bool, int> labels_of(const std::vector<Proposition>& items) {
  std::map<bool, int> count;
  for (const Proposition& item : items)
    if (item.all_of.empty()) ++count[*item.label];
  return count;
}

TEST(ConvertCities, GivesHundredsOfValidPropositions) {
  for (const char* name : {"cities.csv", "neg_cities.csv", "cities_cities_conj.csv"})
    CANDOR_REQUIRE_FILE(truth_file(name));
  const data::Rows rows = *data::read_rows(truth_file("cities.csv"));
  const data::Rows conjunctions = *data::read_rows(truth_file("cities_cities_conj.csv"));
  const auto made = convert_cities(rows, conjunctions, {});
  ASSERT_TRUE(made) << made.error().message;
  expect_no_fault(made->items);
  const auto labels = labels_of(made->items);
  EXPECT_GE(labels.at(true) + labels.at(false), 400);
  EXPECT_NEAR(labels.at(true), labels.at(false),
              20);  // a city whose turn it was could only be had with the other label
  size_t conjoined = 0;
  for (const Proposition& item : made->items) conjoined += item.all_of.empty() ? 0 : 1;
  EXPECT_GE(conjoined, 20u);
  // The negations are those of the authors' own file.
  std::set<std::string> statements, negations;
  for (const data::Row& row : rows.rows) statements.insert(row.columns["statement"].get<std::string>());
  const data::Rows negated = *data::read_rows(truth_file("neg_cities.csv"));
  for (const data::Row& row : negated.rows) negations.insert(row.columns["statement"].get<std::string>());
  for (const Proposition& item : made->items) {
    if (!item.all_of.empty()) continue;
    EXPECT_TRUE(statements.contains(item.statement)) << item.statement;
    EXPECT_TRUE(negations.contains(item.negation)) << item.negation;
  }
}

constexpr const char* kTwoCities =
    "statement,label,city,country,correct_country\n"
    "The city of Omsk is in Peru.,0,Omsk,Peru,Russia\n"
    "The city of Omsk is in Russia.,1,Omsk,Russia,Russia\n"
    "The city of Cusco is in Peru.,1,Cusco,Peru,Peru\n"
    "The city of Cusco is in Atlantis.,0,Cusco,Atlantis,Peru\n";

TEST(ConvertCities, AsksWhereTheTwoCountriesDiffer) {
  const auto made = convert_cities(csv(kTwoCities), {}, {});
  ASSERT_TRUE(made) << made.error().message;
  ASSERT_EQ(made->items.size(), 1u);
  const Proposition& omsk = made->items[0];
  EXPECT_EQ(omsk.statement, "The city of Omsk is in Russia.");
  EXPECT_THAT(made->notes, ElementsAre(HasSubstr("1 of 2 cities were left out: nothing is known")));
  // What tells the two countries apart, each on its side: yes/no questions name the fact of the one or the other.
  const std::map<std::string, size_t> keys = {{"moscow", 0}, {"lima", 1}, {"rouble", 0}, {"sol", 1},   {"7", 0},
                                              {"51", 1},     {"ru", 0},   {"pe", 1},     {"north", 0}, {"south", 1}};
  int known = 0;
  for (const SubQuestion& question : omsk.questions) {
    const bool foreign = question.kind == QuestionKind::kContradiction;  // "a foreign one"
    const std::string said = question.options.empty() ? question.text : question.options[0];
    for (const std::string& word : words_of(said)) {
      if (!keys.contains(word)) continue;
      EXPECT_EQ(question.if_true, foreign ? 1 - keys.at(word) : keys.at(word)) << question.text << " " << said;
      ++known;
    }
  }
  EXPECT_EQ(known, 8);
}

TEST(ConvertCities, NamesTheRowThatDoesNotFit) {
  const auto message = [](const char* row) {
    const auto made = convert_cities(csv(fmt::format("label,city,country,correct_country\n{}\n", row)), {}, {});
    return made ? "" : made.error().message;
  };
  EXPECT_THAT(message("2,Omsk,Peru,Russia"),
              HasSubstr("[propositions] rows.csv row 1 (line 2): \"label\" is \"2\". Expected 1 or 0."));
  EXPECT_THAT(message("1,Omsk,Peru,Russia"),
              HasSubstr("\"label\" is 1 for country \"Peru\" and correct_country \"Russia\""));
  EXPECT_THAT(message("1,,Peru,Peru"), HasSubstr("\"city\" is a null. Expected text."));
  const auto without = convert_cities(csv("label,city\n1,Omsk\n"), {}, {});
  EXPECT_THAT(without.error().message, HasSubstr("there is no column \"country\""));
}

TEST(Countries, AreEachToldApartByWhatIsTheirs) {
  std::set<std::string_view> names, capitals, domains;
  for (const Country& country : countries()) {
    EXPECT_TRUE(names.insert(country.name).second) << country.name;
    EXPECT_TRUE(domains.insert(country.domain).second) << country.domain;
    if (!country.capital.empty()) {
      EXPECT_TRUE(capitals.insert(country.capital).second) << country.capital;
    }
    EXPECT_TRUE(country.driving_side == "left" || country.driving_side == "right") << country.name;
    EXPECT_TRUE(country.calling_code.starts_with("+")) << country.name;
    EXPECT_EQ(find_country(fmt::format("the {}", country.name)), &country);
    for (const std::string_view fact : {country.capital, country.currency, country.language, country.neighbour})
      EXPECT_FALSE(holds_phrase(words_of(fact), words_of(country.name))) << country.name << ": " << fact;
  }
  EXPECT_EQ(find_country("Atlantis"), nullptr);
}

TEST(ConvertComparisons, AsksArithmeticThatSettlesThem) {
  const char* const kRows =
      "statement,label,n1,n2\n"
      "Fifty-one is larger than sixty.,0,51,60\n"
      "Sixty is larger than fifty-one.,1,60,51\n"
      "Seventy is smaller than eighty.,1,70,80\n"
      "Eighty is smaller than seventy.,0,80,70\n";
  const auto made = convert_comparisons(csv(kRows), {});
  ASSERT_TRUE(made) << made.error().message;
  ASSERT_EQ(made->items.size(), 2u);
  EXPECT_NE(made->items[0].label, made->items[1].label);
  expect_no_fault(made->items);
  for (const Proposition& item : made->items) {
    if (item.statement != "Seventy is smaller than eighty.") continue;
    EXPECT_EQ(item.negation, "Seventy is not smaller than eighty.");
    EXPECT_EQ(item.paraphrases[0], "Eighty is larger than seventy.");
    for (const SubQuestion& question : item.questions)
      if (question.text == "Is 80 - 70 above zero?") {
        EXPECT_EQ(question.if_true, 0u);
      }
  }
  EXPECT_THAT(convert_comparisons(csv("statement,label,n1,n2\nTwo is larger than one.,0,2,1\n"), {}).error().message,
              HasSubstr("n1 2, n2 1 and label 0 do not fit"));
  EXPECT_THAT(convert_comparisons(csv("statement,label,n1,n2\nTwo is one.,0,2,1\n"), {}).error().message,
              HasSubstr("Expected \"… is larger than …\""));
}

TEST(ConvertComparisons, TakesEveryPairOnce) {
  CANDOR_REQUIRE_FILE(truth_file("larger_than.csv"));
  for (const char* name : {"larger_than.csv", "smaller_than.csv"}) {
    const auto made = convert_comparisons(*data::read_rows(truth_file(name)), {.most = 400, .seed = 3});
    ASSERT_TRUE(made) << made.error().message;
    ASSERT_EQ(made->items.size(), 400u);
    expect_no_fault(made->items);
    EXPECT_EQ(labels_of(made->items).at(true), 200);
  }
}

TEST(ConvertTranslations, GivesStatementsThatWaitForQuestions) {
  CANDOR_REQUIRE_FILE(truth_file("sp_en_trans.csv"));
  const auto made = convert_translations(*data::read_rows(truth_file("sp_en_trans.csv")), {});
  ASSERT_TRUE(made) << made.error().message;
  ASSERT_EQ(made->items.size(), 351u);  // three rows stand there twice
  EXPECT_EQ(made->items[1].statement, "The Spanish word 'uno' means 'one'.");
  EXPECT_EQ(made->items[1].negation, "The Spanish word 'uno' does not mean 'one'.");
  EXPECT_EQ(made->items[1].recall->answers[0], "one");
  for (const PropositionFault& fault : check_propositions({"made", made->items}))
    EXPECT_TRUE(fault.rule == "count" || fault.rule == "kinds") << fault.row << " " << fault.rule << ": " << fault.what;
}

TEST(ConvertEntailmentBank, TakesThePremisesAsPrerequisites) {
  const auto file = testing::shared_dir() / "data" / "entailment_bank" / "task_1_dev.jsonl";
  CANDOR_REQUIRE_FILE(file);
  const auto made = convert_entailment_bank(*data::read_rows(file), {});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_GE(made->items.size(), 150u);  // of 187 rows, some of which share a hypothesis
  const std::set<std::string> missing = {"count", "kinds", "balance", "conflict"};
  for (const PropositionFault& fault : check_propositions({"made", made->items}))
    EXPECT_TRUE(missing.contains(fault.rule)) << fault.row << " " << fault.rule << ": " << fault.what;
  EXPECT_EQ(made->items[0].statement, "The sun rising and setting is the event that occurs once per day.");
}

TEST(ConvertLeapOfThought, AsksForThePropertyOfTheClassAbove) {
  const auto file = testing::shared_dir() / "data" / "leap_of_thought" / "mix_dev.jsonl";
  CANDOR_REQUIRE_FILE(file);
  const auto made = convert_leap_of_thought(*data::read_rows(file), {});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_GE(made->items.size(), 500u);
  const Proposition& wine = made->items[0];
  EXPECT_EQ(wine.statement, "A wine is a sequence of sounds.");
  EXPECT_EQ(wine.negation, "A wine is not a sequence of sounds.");
  EXPECT_EQ(wine.label, false);
  ASSERT_EQ(wine.questions.size(), 1u);
  EXPECT_EQ(wine.questions[0].text, "Is it so that an alcohol is a sequence of sounds?");
}

constexpr const char* kTable =
    "id,topic,statement,negation,answer,label,paraphrase_1,paraphrase_2,kind,question,option_a,option_b,if_true\n"
    "k,Europe,Kyiv is in Ukraine.,Kyiv is not in Ukraine.,Ukraine,1,P one.,P two.,use,What do you pay with?,the "
    "zloty,the hryvnia,B\n"
    "k,,,,,,,,consequence,Do offices write in Polish?,,,no\n"
    "l,Europe,Lviv is in Poland.,Lviv is not in Poland.,Poland,0,,,,,,,\n";

TEST(ConvertTable, ReadsRowsOfQuestions) {
  const auto made = convert_table(csv(kTable), {});
  ASSERT_TRUE(made) << made.error().message;
  ASSERT_EQ(made->items.size(), 2u);
  const Proposition& kyiv = made->items[0];
  EXPECT_THAT(kyiv.paraphrases, ElementsAre("P one.", "P two."));
  ASSERT_EQ(kyiv.questions.size(), 2u);
  EXPECT_EQ(kyiv.questions[0].if_true, 1u);
  EXPECT_THAT(kyiv.questions[0].options, ElementsAre("the zloty", "the hryvnia"));
  EXPECT_EQ(kyiv.questions[1].if_true, 1u);
  EXPECT_THAT(kyiv.questions[1].options, IsEmpty());
  EXPECT_EQ(made->items[1].label, false);
}

TEST(ConvertTable, NamesTheRowThatDoesNotFit) {
  const auto message = [](std::string row) {
    const auto made = convert_table(
        csv("id,topic,statement,negation,answer,kind,question,option_a,option_b,if_true\n" + std::move(row)), {});
    return made ? "" : made.error().message;
  };
  EXPECT_THAT(message("k,t,S.,N.,S,use,Q?,,,A\n"),
              HasSubstr("row 1 (line 2): \"if_true\" is \"A\". Expected \"yes\" or \"no\"."));
  EXPECT_THAT(message("k,t,S.,N.,S,use,Q?,x,,A\n"),
              HasSubstr("row 1 (line 2): \"option_b\" is a null. Expected text."));
  EXPECT_THAT(message("k,t,,N.,S,use,Q?,,,yes\n"), HasSubstr("row 1 (line 2): \"statement\" is a null"));
  EXPECT_THAT(message("k,t,S.,N.,S,used,Q?,,,yes\n"), HasSubstr("the kind \"used\" is none of"));
}

}  // namespace
}  // namespace candor::belief
