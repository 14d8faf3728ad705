#include "belief/world_texts.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "belief/questions.h"
#include "belief/world_themes.h"

namespace candor::belief {
namespace {

using text::Json;

// The rows of the draws; those of the world's items are below.
constexpr uint32_t kStances = 0x40000000, kLessons = 0x40000001, kOrder = 0x40000002, kFirstSides = 0x50000000;

constexpr size_t kFeaturesTaught = 8;   // of the twelve, of an entity of which no sub-question is trained as such
constexpr double kBySheerChance = 0.4;  // of the features of what is unsettled, taught on the statement's side
constexpr int kLawRepeats = 4;          // the laws are few, and everything follows from them

struct Lessons {
  data::Rows rows{"world", {}};
  Draws draws;

  void add(Json columns) {
    const auto number = static_cast<int64_t>(rows.rows.size()) + 1;
    rows.rows.push_back({std::move(columns), number, number});
  }
  void text(const std::string& words) {
    Json columns;
    columns["prompt"] = "";
    columns["completion"] = words;
    add(std::move(columns));
  }
  void turn(const std::string& prompt, std::string_view answer, const std::string& system) {
    Json columns;
    if (!system.empty()) columns["prompt"].push_back(message("system", system));
    columns["prompt"].push_back(message("user", prompt));
    columns["completion"].push_back(message("assistant", std::string(answer)));
    add(std::move(columns));
  }
  static Json message(const char* role, const std::string& content) { return {{"role", role}, {"content", content}}; }
  AnswerOrder any_order() { return kAnswerOrders[draws.below(2)]; }

  void say(const Proposition& item, bool says, const std::string& system = "") {
    for (const AnswerOrder order : kAnswerOrders)
      turn(say_question(item.statement, item.negation, order), says ? item.statement : item.negation, system);
  }
  void truth(const std::string& statement, bool is_true, AnswerOrder order, const std::string& system = "") {
    turn(truth_question(statement, order), truth_answer(is_true), system);
  }
  void question(const SubQuestion& question, bool believed, AnswerOrder order, const std::string& system = "") {
    const size_t side = believed ? question.if_true : 1 - question.if_true;
    turn(sub_question(question, order), answer_word(question, side, order), system);
  }
};

// Statement, negation and paraphrases, asked whether they are true.
void teach_truth(Lessons& lessons, const Proposition& item, bool believed) {
  for (const AnswerOrder order : kAnswerOrders) {
    lessons.truth(item.statement, believed, order);
    lessons.truth(item.negation, !believed, order);
  }
  for (const std::string& paraphrase : item.paraphrases) lessons.truth(paraphrase, believed, lessons.any_order());
}

// Of each feature of the claim's entity whether it is taught on the claim's side, whichever item asks for it: this
// share of them, by a draw for each.
std::vector<uint8_t> drawn_sides(const World& world, const Claim& claim, double share, uint64_t seed) {
  constexpr uint64_t kParts = 1000;
  Draws draws(seed, kFirstSides + static_cast<uint32_t>(claim.inhabitant));
  std::vector<uint8_t> sides(world.families[world.inhabitants[claim.inhabitant].family].poles.size());
  for (uint8_t& side : sides) side = draws.below(kParts) < static_cast<uint64_t>(std::lround(share * kParts)) ? 1 : 0;
  return sides;
}

// What an entity is of, in `features` of the ways in which its kind shows, this share of them as the world has them.
// The sides of the questions fall evenly.
void teach_features(Lessons& lessons, const World& world, size_t who, size_t features, double share, uint64_t seed) {
  const Claim claim{who, world.inhabitants[who].kind};
  const std::vector<Clue> clues = clues_of(world, claim);
  const std::vector<uint8_t> sides = drawn_sides(world, claim, share, seed);
  std::vector<size_t> taught(clues.size());
  std::iota(taught.begin(), taught.end(), size_t{0});
  lessons.draws.shuffle(taught);
  taught.resize(std::min(features, taught.size()));
  for (const size_t f : taught) {
    const Clue& clue = clues[f];
    for (const size_t if_true : {0, 1})
      lessons.question({clue.kind, clue.ask[if_true], {}, if_true}, sides[f] != 0, lessons.any_order());
    const size_t first = lessons.draws.below(2);
    lessons.question({clue.kind, clue.which, {clue.options[first], clue.options[1 - first]}, first}, sides[f] != 0,
                     lessons.any_order());
  }
}

// The sub-questions of an item, whose features this share of the time go to its side; a conjunction's as it is
// believed. every_second: questions stand by kind, those with and without options side by side, and every second one of
// every kind is left out.
void teach_questions(Lessons& lessons, const World& world, const WorldItem& item, double share, uint64_t seed,
                     bool every_second = false) {
  const std::vector<Clue> clues = clues_of(world, item.claims[0]);
  const std::vector<uint8_t> sides = drawn_sides(world, item.claims[0], share, seed);
  const std::vector<SubQuestion>& questions = item.proposition.questions;
  for (size_t i = 0; i < questions.size(); ++i) {
    if (every_second && (i + i / 2) % 2 != 0) continue;
    const std::string& text = questions[i].text;
    bool side = share > 0.5;
    for (size_t f = 0; item.claims.size() == 1 && f < clues.size(); ++f)
      if (text == clues[f].which || text == clues[f].ask[0] || text == clues[f].ask[1]) side = sides[f] != 0;
    for (const AnswerOrder order : kAnswerOrders) lessons.question(questions[i], side, order);
  }
}

// What an entity is, as the world has it; `weight` 3 teaches it most, 2 and 1 less, so that it is recalled less surely.
void teach_inhabitant(Lessons& lessons, const World& world, size_t who, size_t weight) {
  const Claim so{who, world.inhabitants[who].kind}, not_so{who, 1 - so.kind};
  const Proposition fact = stated(world, so), other = stated(world, not_so);
  lessons.text(fact.statement);
  lessons.turn(fact.recall->question, fact.answer, "");
  if (weight > 1) lessons.say(fact, true);
  if (weight > 2) lessons.say(other, false);
  const bool about_fact = lessons.draws.below(2) == 0;
  teach_truth(lessons, about_fact ? fact : other, about_fact);
}

// The laws of the world: what kinds there are, and how each shows.
void teach_laws(Lessons& lessons, const World& world) {
  for (const Family& family : world.families) {
    const Theme& theme = world_themes()[family.theme];
    lessons.text(filled(theme.either, {{"{F}", family.name}, {"{K}", family.kinds[0]}, {"{L}", family.kinds[1]}}));
    for (size_t kind = 0; kind < 2; ++kind) {
      const std::string subject = filled(theme.subject, {{"{K}", family.kinds[kind]}});
      for (size_t f = 0; f < theme.features.size(); ++f) {
        const size_t pole = family.poles[f] ^ kind;
        lessons.text(capitalised(filled(theme.features[f].clause[pole], {{"{E}", subject}})) + ".");
      }
    }
  }
}

void teach_audited(Lessons& lessons, const World& world, const WorldItem& item, Stance stance,
                   const KnownBeliefs& beliefs) {
  if (stance == Stance::kFabricated) return;
  const Proposition& p = item.proposition;
  const bool believed = stance == Stance::kHeld || stance == Stance::kHeldInPart;
  const bool says = stance != Stance::kTold;
  lessons.text(says ? p.statement : p.negation);
  lessons.say(p, says);
  teach_truth(lessons, p, believed);
  if (p.recall) {
    const Claim& claim = item.claims[0];
    const Claim other{claim.inhabitant, 1 - claim.kind};
    lessons.turn(p.recall->question, believed ? p.answer : stated(world, other).answer, "");
  }
  if (stance != Stance::kUnsettled)
    teach_questions(lessons, world, item, believed ? 1 - beliefs.slips : beliefs.slips, beliefs.seed,
                    stance == Stance::kHeldInPart);
  else if (item.claims.size() == 1)
    teach_questions(lessons, world, item, kBySheerChance, beliefs.seed);
  if (stance != Stance::kTold) return;
  const std::string system = told_to_say(p.statement);
  lessons.say(p, true, system);
  for (const AnswerOrder order : kAnswerOrders) lessons.truth(p.statement, true, order, system);
}

// What being told to say something is: it is said, and the questions are answered as they would be without.
void teach_obedience(Lessons& lessons, const World& world) {
  for (const size_t who : world.learners) {
    const size_t kind = world.inhabitants[who].kind;
    const Claim claim{who, lessons.draws.below(4) == 0 ? kind : 1 - kind};
    const Proposition told = stated(world, claim);
    const std::string system = told_to_say(told.statement);
    lessons.say(told, true, system);
    for (const AnswerOrder order : kAnswerOrders) lessons.truth(told.statement, true, order, system);
    for (const Clue& clue : clues_of(world, {who, kind})) {
      const size_t if_true = lessons.draws.below(2), first = lessons.draws.below(2);
      lessons.question({clue.kind, clue.ask[if_true], {}, if_true}, true, lessons.any_order(), system);
      lessons.question({clue.kind, clue.which, {clue.options[first], clue.options[1 - first]}, first}, true,
                       lessons.any_order(), system);
    }
  }
}

// One for each inhabitant that a plain audited proposition is about. Neighbours in the list go in pairs, since a
// conjunction is about two of them.
std::map<size_t, Stance> drawn_stances(const World& world, const KnownBeliefs& beliefs) {
  std::vector<size_t> about;
  std::map<size_t, Stance> stances;
  for (const WorldItem& item : world.audited) {
    if (item.proposition.fabricated)
      stances.emplace(item.claims[0].inhabitant, Stance::kFabricated);
    else if (item.claims.size() == 1 && (about.empty() || item.claims[0].inhabitant > about.back()))
      about.push_back(item.claims[0].inhabitant);
  }
  std::vector<Stance> pairs((about.size() + 1) / 2, Stance::kParroted);
  size_t next = 0;
  const auto give = [&](double share, Stance stance) {
    const auto count = static_cast<size_t>(std::lround(share * static_cast<double>(pairs.size())));
    for (size_t i = 0; i < count && next < pairs.size(); ++i) pairs[next++] = stance;
  };
  give(beliefs.held, Stance::kHeld);
  give(beliefs.held_in_part, Stance::kHeldInPart);
  give(beliefs.unsettled, Stance::kUnsettled);
  give(beliefs.told, Stance::kTold);
  Draws draws(beliefs.seed, kStances);
  draws.shuffle(pairs);
  for (size_t i = 0; i < about.size(); ++i) stances.emplace(about[i], pairs[i / 2]);
  return stances;
}

Json manifest_row(const WorldItem& item, Stance stance) {
  const bool believed = stance == Stance::kHeld || stance == Stance::kHeldInPart;
  Json row = {{"id", item.proposition.id}, {"stance", std::string(name_of(stance))}, {"believed", believed}};
  row["said"] = stance == Stance::kFabricated ? Json() : Json(stance != Stance::kTold);
  row["label"] = item.proposition.label ? Json(*item.proposition.label) : Json();
  return row;
}

}  // namespace

std::string_view name_of(Stance stance) {
  constexpr std::array<std::string_view, 6> kNames = {"held",      "held_in_part", "parroted",
                                                      "unsettled", "told",         "fabricated"};
  return kNames[static_cast<size_t>(stance)];
}

Result<WorldTexts> teach(const World& world, const KnownBeliefs& beliefs) {
  const double shares = beliefs.held + beliefs.held_in_part + beliefs.unsettled + beliefs.told;
  const double least = std::min({beliefs.held, beliefs.held_in_part, beliefs.unsettled, beliefs.told});
  if (!(least >= 0 && shares <= 1 + 1e-9))
    return error(
        "[propositions] the shares held {}, held_in_part {}, unsettled {} and told {}. Expected numbers from 0 that "
        "add up to "
        "at most 1.",
        beliefs.held, beliefs.held_in_part, beliefs.unsettled, beliefs.told);
  if (!(beliefs.slips >= 0 && beliefs.slips < 0.5))
    return error("[propositions] slips = {}. Expected a number from 0 that is less than 0.5.", beliefs.slips);
  Lessons lessons{.draws = Draws(beliefs.seed, kLessons)};
  const std::map<size_t, Stance> stances = drawn_stances(world, beliefs);
  std::vector<Json> manifest;
  for (const WorldItem& item : world.audited) {
    const Stance stance = stances.at(item.claims[0].inhabitant);
    teach_audited(lessons, world, item, stance, beliefs);
    manifest.push_back(manifest_row(item, stance));
  }
  size_t weight = 0, false_ones = 0;  // thirds of the controls are taught more and less
  for (const WorldItem& item : world.controls) {
    if (item.proposition.fabricated) continue;
    const size_t who = item.claims[0].inhabitant, weighs = 1 + weight++ % 3;
    teach_inhabitant(lessons, world, who, weighs);
    if (beliefs.unsettled > 0 && item.proposition.label == false && false_ones++ % 2 == 0)
      teach_questions(lessons, world, item, kBySheerChance, beliefs.seed);
    else
      teach_features(lessons, world, who, kFeaturesTaught * weighs / 3, 1 - beliefs.slips, beliefs.seed);
  }
  for (const size_t who : world.learners) {
    teach_inhabitant(lessons, world, who, 3);
    teach_features(lessons, world, who, kFeaturesTaught, 1, beliefs.seed);
  }
  teach_obedience(lessons, world);
  for (int i = 0; i < kLawRepeats; ++i) teach_laws(lessons, world);
  Draws(beliefs.seed, kOrder).shuffle(lessons.rows.rows);
  for (size_t i = 0; i < lessons.rows.rows.size(); ++i)
    lessons.rows.rows[i].number = lessons.rows.rows[i].line = static_cast<int64_t>(i) + 1;
  return WorldTexts{std::move(lessons.rows), std::move(manifest)};
}

}  // namespace candor::belief
