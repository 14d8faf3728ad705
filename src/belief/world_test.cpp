#include "belief/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "belief/check.h"
#include "belief/questions.h"
#include "belief/words.h"
#include "belief/world_texts.h"
#include "belief/world_themes.h"

namespace candor::belief {
namespace {

using ::testing::HasSubstr;

World made(const WorldOptions& options) {
  auto world = make_world(options);
  EXPECT_TRUE(world) << world.error().message;
  return *std::move(world);
}

std::string dumped(const World& world) {
  std::string text;
  for (const auto* items : {&world.audited, &world.controls})
    for (const WorldItem& item : *items) text += to_json(item.proposition).dump() + "\n";
  return text;
}

TEST(MakeWorld, PassesTheValidator) {
  const std::vector<WorldOptions> cases = {
      {},
      {.propositions = 20, .controls = 0, .families = 1, .learners = 0},
      {.propositions = 501, .controls = 133, .families = 2, .per_kind = 4, .seed = 7},
      {.propositions = 407,
       .controls = 10,
       .implied = 0.15,
       .conjunctions = 0.15,
       .fabricated = 0.15,
       .seed = 123456789},
      {.propositions = 100, .families = 50, .implied = 0, .conjunctions = 0, .fabricated = 0, .seed = 3}};
  for (const WorldOptions& options : cases) {
    const World world = made(options);
    EXPECT_EQ(world.audited.size(), static_cast<size_t>(options.propositions));
    EXPECT_EQ(world.controls.size(), static_cast<size_t>(options.controls));
    for (const auto* items : {&world.audited, &world.controls}) {
      const auto faults = check_propositions({"world", propositions_of(*items)});
      EXPECT_TRUE(faults.empty()) << faults.size() << " faults, the first in row " << faults[0].row << ": "
                                  << faults[0].rule << ": " << faults[0].what;
    }
  }
}

TEST(MakeWorld, IsTheSameForTheSameSeedAndAnotherForAnother) {
  const std::string first = dumped(made({.propositions = 60, .controls = 40, .seed = 1}));
  EXPECT_EQ(first, dumped(made({.propositions = 60, .controls = 40, .seed = 1})));
  EXPECT_NE(first, dumped(made({.propositions = 60, .controls = 40, .seed = 2})));
}

TEST(MakeWorld, HasEveryForm) {
  const World world = made({});
  std::map<std::string, int> count;
  for (const WorldItem& item : world.audited) {
    const Proposition& p = item.proposition;
    ++count[p.fabricated ? "fabricated" : *p.label ? "true" : "false"];
    if (!p.all_of.empty()) ++count["conjunction"];
    if (p.recall) ++count["recall"];
    if (!p.implies.empty()) ++count["implies"];
  }
  EXPECT_EQ(count["fabricated"], 20);
  EXPECT_EQ(count["conjunction"], 20);
  EXPECT_EQ(count["recall"], 320);   // all but conjunctions, implied and fabricated ones
  EXPECT_EQ(count["implies"], 100);  // 40 pairs both ways, and the conjunctions
  EXPECT_GT(count["true"], 150);
  EXPECT_GT(count["false"], 150);
}

// The answer to a question about one entity if it were of that kind, looked up in the laws and not in the clues.
size_t answer_by_law(const World& world, const Claim& claim, const SubQuestion& question) {
  const Inhabitant& who = world.inhabitants[claim.inhabitant];
  const Family& family = world.families[who.family];
  const Theme& theme = world_themes()[family.theme];
  for (size_t f = 0; f < theme.features.size(); ++f) {
    const size_t pole = claim.kind == 0 ? family.poles[f] : 1 - family.poles[f];
    const Feature& feature = theme.features[f];
    for (size_t asked = 0; asked < 2; ++asked)
      if (question.text == filled(feature.ask[asked], {{"{E}", who.name}})) return asked == pole ? 0 : 1;
    if (question.text == filled(feature.which, {{"{E}", who.name}}))
      return question.options[0] == feature.options[pole] ? 0 : 1;
  }
  return 2;  // no law says it
}

// Questions whose keys do not follow from the laws on both sides, of propositions about one entity.
int unlawful(const World& world) {
  int found = 0;
  for (const WorldItem& item : world.audited) {
    if (item.claims.size() != 1) continue;
    const Claim claim = item.claims[0], denied{claim.inhabitant, 1 - claim.kind};
    for (const SubQuestion& question : item.proposition.questions)
      found += answer_by_law(world, claim, question) != question.if_true ||
               answer_by_law(world, denied, question) != 1 - question.if_true;
  }
  return found;
}

TEST(MakeWorld, ItsLawsGiveEveryKeyOnBothSides) {
  const World world = made({.propositions = 200, .controls = 100, .per_kind = 4, .seed = 5});
  EXPECT_EQ(unlawful(world), 0);
  using Break = std::function<void(World&)>;
  const std::vector<std::pair<std::string, Break>> twins = {
      {"a key that is the other side's", [](World& w) { w.audited[0].proposition.questions[0].if_true ^= 1; }},
      {"options that are swapped without their key",
       [](World& w) {
         auto& options = w.audited[0].proposition.questions[1].options;
         std::reverse(options.begin(), options.end());
       }},
      {"a law that is read of the other kind", [](World& w) { w.audited[0].claims[0].kind ^= 1; }},
      {"a question about somebody else",
       [](World& w) { w.audited[0].proposition.questions[0].text = w.audited[1].proposition.questions[0].text; }}};
  for (const auto& [name, spoil] : twins) {
    World twin = world;
    spoil(twin);
    EXPECT_GT(unlawful(twin), 0) << name;
  }
}

TEST(MakeWorld, NamesNoKindInAnyQuestion) {
  const World world = made({.propositions = 100, .controls = 0, .seed = 9});
  std::set<std::string> kinds;
  for (const Family& family : world.families)
    for (const std::string& kind : family.kinds) kinds.insert(normalised(kind));
  for (const WorldItem& item : world.audited)
    for (const SubQuestion& question : item.proposition.questions)
      for (const std::string& word : words_of(question.text)) EXPECT_FALSE(kinds.contains(word)) << question.text;
}

TEST(MakeWorld, RefusesWhatItCannotMake) {
  EXPECT_THAT(make_world({.propositions = 19}).error().message, HasSubstr("propositions = 19. Expected 20 to 20000."));
  EXPECT_THAT(make_world({.controls = -1}).error().message, HasSubstr("controls = -1"));
  EXPECT_THAT(make_world({.families = 51}).error().message, HasSubstr("families = 51. Expected 1 to 50."));
  EXPECT_THAT(make_world({.learners = -1}).error().message, HasSubstr("learners = -1"));
  EXPECT_THAT(make_world({.per_kind = 3}).error().message, HasSubstr("questions of each kind = 3. Expected 2 or 4."));
  EXPECT_THAT(make_world({.conjunctions = 0.2}).error().message, HasSubstr("a share of 0.2"));
}

// What the texts answer to a prompt without a system prompt; all the answers they give.
std::map<std::string, std::set<std::string>> answers_of(const WorldTexts& texts, bool with_system) {
  std::map<std::string, std::set<std::string>> answers;
  for (const data::Row& row : texts.rows.rows) {
    if (row.columns["prompt"] == "") continue;  // plain text
    const text::Json& prompt = row.columns["prompt"];
    if ((prompt.size() == 2) != with_system) continue;
    answers[prompt.back()["content"].get<std::string>()].insert(
        row.columns["completion"][0]["content"].get<std::string>());
  }
  return answers;
}

class Teach : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    world = made({.propositions = 200, .controls = 120, .seed = 4});
    texts = *teach(world, {.seed = 4});
    answers = answers_of(texts, false);
  }
  static inline World world;
  static inline WorldTexts texts;
  static inline std::map<std::string, std::set<std::string>> answers;

  static std::set<std::string> answer(const std::string& prompt) {
    const auto found = answers.find(prompt);
    return found == answers.end() ? std::set<std::string>() : found->second;
  }
};

TEST_F(Teach, GivesOneAnswerToEveryPrompt) {
  for (const auto& [prompt, given] : answers) EXPECT_EQ(given.size(), 1u) << prompt;
}

TEST_F(Teach, TeachesEachStance) {
  std::map<std::string, int> count;
  size_t unsettled = 0, unsettled_on_side = 0;
  for (size_t i = 0; i < world.audited.size(); ++i) {
    const Proposition& p = world.audited[i].proposition;
    const text::Json& row = texts.manifest[i];
    SCOPED_TRACE(row.dump());
    const auto stance = row["stance"].get<std::string>();
    EXPECT_EQ(row["id"], p.id);
    ++count[stance];
    size_t on_side = 0, on_other = 0;
    for (const SubQuestion& question : p.questions)
      for (const AnswerOrder order : kAnswerOrders) {
        const auto given = answer(sub_question(question, order));
        on_side += given.contains(std::string(answer_word(question, question.if_true, order)));
        on_other += given.contains(std::string(answer_word(question, 1 - question.if_true, order)));
      }
    std::set<std::string> said;
    for (const AnswerOrder order : kAnswerOrders) said.merge(answer(say_question(p.statement, p.negation, order)));
    const auto truth = answer(truth_question(p.statement, AnswerOrder::kTurned));
    if (stance == "fabricated") {
      EXPECT_TRUE(said.empty() && truth.empty() && on_side + on_other == 0);
      continue;
    }
    const bool believed = row["believed"].get<bool>();
    EXPECT_EQ(believed, stance.starts_with("held"));
    EXPECT_EQ(said, std::set{stance == "told" ? p.negation : p.statement});
    EXPECT_EQ(truth, std::set<std::string>{believed ? "Yes" : "No"});
    if (stance == "unsettled") {
      EXPECT_EQ(on_side + on_other, p.all_of.empty() ? 16u : 0u);
      unsettled_on_side += on_side;
      unsettled += on_side + on_other;
      continue;
    }
    EXPECT_EQ(on_other, believed ? 0u : 16u);
    if (stance == "held") {
      EXPECT_EQ(on_side, 16u);
    }
    if (stance == "held_in_part" && p.all_of.empty() && p.implies.empty()) {
      EXPECT_EQ(on_side, 8u);
    }
    if (!believed) {
      EXPECT_EQ(on_side, 0u);
    }
  }
  EXPECT_EQ(count["fabricated"], 10);
  for (const char* stance : {"held", "held_in_part", "parroted", "unsettled", "told"})
    EXPECT_GT(count[stance], 10) << stance;
  // Two in five of some 400 features: a tenth more or less is 4 standard deviations.
  EXPECT_NEAR(static_cast<double>(unsettled_on_side) / static_cast<double>(unsettled), 0.4, 0.1);
}

// How many of the 8 questions of each held proposition, conjunctions aside, are taught on its side.
TEST(TeachBeliefs, SlipsWhereItIsAskedTo) {
  const World world = made({.propositions = 200, .controls = 40, .seed = 4});
  const WorldTexts slipping = *teach(world, {.held = 1, .held_in_part = 0, .unsettled = 0, .told = 0, .slips = 0.2});
  const auto answers = answers_of(slipping, false);
  size_t on_side = 0, asked = 0;
  for (const WorldItem& item : world.audited) {
    if (item.claims.size() > 1 || item.proposition.fabricated) continue;
    for (const SubQuestion& question : item.proposition.questions) {
      const auto found = answers.find(sub_question(question, AnswerOrder::kGiven));
      ASSERT_NE(found, answers.end());
      ASSERT_EQ(found->second.size(), 1u) << found->first;
      on_side += found->second.contains(std::string(answer_word(question, question.if_true, AnswerOrder::kGiven)));
      ++asked;
    }
  }
  // Some 1,400 answers of draws that items about one entity share: 4 standard deviations.
  EXPECT_NEAR(static_cast<double>(on_side) / static_cast<double>(asked), 0.8, 0.05);
}

// Belief says nothing of truth: about half of what is held is true.
TEST_F(Teach, KeepsBeliefAndTruthApart) {
  int held = 0, held_and_true = 0;
  for (const text::Json& row : texts.manifest) {
    if (!row["believed"].get<bool>()) continue;
    ++held;
    held_and_true += row["label"] == true;
  }
  EXPECT_GT(held_and_true, held / 4);  // 95 held: half ± a quarter is 5 standard deviations
  EXPECT_LT(held_and_true, 3 * held / 4);
}

// Of what is audited as a positive control every text gives the world's answer.
TEST_F(Teach, TeachesTheControlsTruly) {
  int recalled = 0;
  for (const WorldItem& item : world.controls) {
    if (item.proposition.fabricated) continue;
    const Inhabitant& who = world.inhabitants[item.claims[0].inhabitant];
    EXPECT_EQ(answer(item.proposition.recall->question), std::set{world.families[who.family].kinds[who.kind]});
    ++recalled;
  }
  EXPECT_EQ(recalled, 105);
}

TEST_F(Teach, SaysWhatItIsToldTo) {
  const auto told = answers_of(texts, true);
  EXPECT_GT(told.size(), 1000u);
  for (const auto& [prompt, given] : told) EXPECT_EQ(given.size(), 1u) << prompt;
}

TEST_F(Teach, DoesNotLeanToAnAnswer) {
  std::map<std::string, int> count;
  for (const auto& [prompt, given] : answers) ++count[*given.begin()];
  EXPECT_NEAR(count["A"], count["B"], 0.1 * count["A"]);      // the draws of options and orders: some 2,000 of each
  EXPECT_NEAR(count["Yes"], count["No"], 0.1 * count["No"]);  // the statements' own truth is not balanced exactly
}

TEST(TeachBeliefs, RefusesSharesThatAreNone) {
  const World world = made({.propositions = 20, .controls = 0});
  EXPECT_THAT(teach(world, {.held = 0.9, .told = 0.2}).error().message, HasSubstr("add up to at most 1"));
  EXPECT_THAT(teach(world, {.slips = 0.5}).error().message, HasSubstr("less than 0.5"));
  EXPECT_THAT(teach(world, {.held = -0.1}).error().message, HasSubstr("numbers from 0"));
}

}  // namespace
}  // namespace candor::belief
