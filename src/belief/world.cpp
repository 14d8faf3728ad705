#include "belief/world.h"

#include <algorithm>
#include <set>

#include "base/check.h"
#include "belief/words.h"
#include "belief/world_themes.h"

namespace candor::belief {
namespace {

constexpr int64_t kMostPropositions = 20000;
constexpr int64_t kMostFamilies = 50;

// The rows of the draws.
constexpr uint32_t kNames = 0, kLaws = 1, kPeople = 2, kFirstItem = 3;

// Invented names, each once, of which none is a word of the sentences that they stand in.
class Names {
 public:
  explicit Names(uint64_t seed) : draws_(seed, kNames) {
    for (const Theme& theme : world_themes()) {
      for (const std::string_view text : {theme.statement, theme.negation, theme.recall, theme.subject, theme.either})
        take_words(text);
      for (const std::string_view text : theme.paraphrases) take_words(text);
      for (const Feature& feature : theme.features)
        for (const std::string_view text : {feature.ask[0], feature.ask[1], feature.which}) take_words(text);
    }
  }

  std::string next(bool capital) {
    for (size_t tries = 0;; ++tries) {
      const size_t syllables = tries < 20 ? 2 : 3;  // the short ones may be used up
      std::string name;
      for (size_t i = 0; i < syllables; ++i) name += syllable();
      name += kLast[draws_.below(kLast.size())];
      if (taken_.insert(name).second) return capital ? capitalised(name) : name;
    }
  }

 private:
  static constexpr std::string_view kFirst = "bdfgklmnprtvz", kVowels = "aeiou", kLast = "klmnrt";

  std::string syllable() { return {kFirst[draws_.below(kFirst.size())], kVowels[draws_.below(kVowels.size())]}; }
  void take_words(std::string_view text) {
    for (std::string& word : words_of(text)) taken_.insert(std::move(word));
  }

  Draws draws_;
  std::set<std::string> taken_;
};

using Values = std::vector<std::pair<std::string_view, std::string_view>>;

const Theme& theme_of(const World& world, const Claim& claim) {
  return world_themes()[world.families[world.inhabitants[claim.inhabitant].family].theme];
}

// Builds the lists of a world, item by item.
class Maker {
 public:
  explicit Maker(const WorldOptions& options)
      : options_(options), names_(options.seed), people_(options.seed, kPeople) {}

  World made() {
    make_families();
    const auto share = [&](double of) { return static_cast<int64_t>(of * static_cast<double>(options_.propositions)); };
    const int64_t conjunctions = share(options_.conjunctions), implied = share(options_.implied);
    const int64_t fabricated = share(options_.fabricated);
    const int64_t plain = options_.propositions - conjunctions - implied - fabricated;
    items_ = &world_.audited;
    prefix_ = "p";
    add_plain(plain, plain / 2);
    for (int64_t i = 0; i < implied; ++i) add_implied(static_cast<size_t>(i % plain));
    for (int64_t i = 0; i < conjunctions; ++i) add_conjunction(static_cast<size_t>(2 * i));
    for (int64_t i = 0; i < fabricated; ++i) add_fabricated();
    items_ = &world_.controls;
    prefix_ = "c";
    const int64_t false_ones = options_.controls * 3 / 8, none = options_.controls / 8;
    add_plain(options_.controls - none, options_.controls - none - false_ones);
    for (int64_t i = 0; i < none; ++i) add_fabricated();
    for (int64_t i = 0; i < options_.learners; ++i) world_.learners.push_back(new_inhabitant(true));
    return std::move(world_);
  }

 private:
  void make_families() {
    Draws draws(options_.seed, kLaws);
    for (size_t theme = 0; theme < world_themes().size(); ++theme) {
      const bool capital = world_themes()[theme].kinds_are_places;
      for (int64_t i = 0; i < options_.families; ++i) {
        Family family{theme, names_.next(false), {names_.next(capital), names_.next(capital)}, {}};
        for (size_t f = 0; f < world_themes()[theme].features.size(); ++f)
          family.poles.push_back(static_cast<uint8_t>(draws.below(2)));
        world_.families.push_back(std::move(family));
      }
    }
  }

  size_t new_inhabitant(bool exists) {
    const size_t family = people_.below(world_.families.size());
    world_.inhabitants.push_back({names_.next(true), family, people_.below(2), exists});
    return world_.inhabitants.size() - 1;
  }

  // Gives the item its questions and its place; the proposition's words are there.
  void add(Proposition proposition, std::vector<Claim> claims, const std::vector<Clue>& clues) {
    Draws draws(options_.seed, kFirstItem + next_row_++);
    proposition.number = static_cast<int64_t>(items_->size()) + 1;
    proposition.id = fmt::format("{}{}", prefix_, proposition.number);
    proposition.questions = draw_questions(proposition, clues, options_.per_kind, draws);
    CHECK(!proposition.questions.empty());
    bool exist = true, so = true;
    for (const Claim& claim : claims) {
      exist = exist && world_.inhabitants[claim.inhabitant].exists;
      so = so && world_.inhabitants[claim.inhabitant].kind == claim.kind;
    }
    proposition.fabricated = !exist;
    if (exist)
      proposition.label = so;
    else
      proposition.recall.reset();
    items_->push_back({std::move(proposition), std::move(claims)});
  }

  void add_claim(const Claim& claim) { add(stated(world_, claim), {claim}, clues_of(world_, claim)); }

  // `true_ones` of them true, spread by chance.
  void add_plain(int64_t count, int64_t true_ones) {
    std::vector<uint8_t> so(static_cast<size_t>(count), 0);
    std::fill(so.begin(), so.begin() + true_ones, 1);
    people_.shuffle(so);
    for (const uint8_t one : so) {
      const size_t who = new_inhabitant(true);
      const size_t kind = world_.inhabitants[who].kind;
      add_claim({who, one != 0 ? kind : 1 - kind});
    }
  }

  void add_fabricated() { add_claim({new_inhabitant(false), people_.below(2)}); }

  // "Talo has wings", which follows from "Talo is a dorv" and the laws, and the other way round.
  void add_implied(size_t from) {
    const Claim claim = (*items_)[from].claims[0];
    const std::vector<Clue> clues = clues_of(world_, claim);
    std::vector<const Clue*> consequences;
    for (const Clue& clue : clues)
      if (clue.kind == QuestionKind::kConsequence) consequences.push_back(&clue);
    const Clue& clue = *consequences[people_.below(consequences.size())];
    Proposition made;
    made.topic = (*items_)[from].proposition.topic;
    made.statement = capitalised(clue.clause[0] + ".");
    made.negation = fmt::format("It is not so that {}.", clue.clause[0]);
    made.paraphrases = {fmt::format("It is so that {}.", clue.clause[0]),
                        fmt::format("It is a fact that {}.", clue.clause[0]),
                        fmt::format("As is known, {}.", clue.clause[0])};
    made.answer = clue.options[0];
    made.implies = {(*items_)[from].proposition.id};
    add(std::move(made), {claim}, clues);
    (*items_)[from].proposition.implies.push_back(items_->back().proposition.id);
  }

  void add_conjunction(size_t first) {
    const WorldItem &a = (*items_)[first], &b = (*items_)[first + 1];
    Proposition made;
    made.topic = a.proposition.topic;
    const std::string both =
        fmt::format("{}, and {}.", without_stop(a.proposition.statement), without_stop(b.proposition.statement));
    made.statement = both;
    made.negation = fmt::format("It is not so that {}", both);
    made.paraphrases = {
        fmt::format("It is so that {}", both), fmt::format("It is a fact that {}", both),
        fmt::format("{}, and {}.", without_stop(b.proposition.statement), without_stop(a.proposition.statement))};
    made.answer = a.proposition.answer;
    made.all_of = {a.proposition.id, b.proposition.id};
    made.implies = made.all_of;
    const std::vector<Claim> claims = {a.claims[0], b.claims[0]};
    add(std::move(made), claims, conjunction_clues(clues_of(world_, claims[0]), clues_of(world_, claims[1])));
  }

  const WorldOptions& options_;
  Names names_;
  Draws people_;
  World world_;
  std::vector<WorldItem>* items_ = nullptr;
  const char* prefix_ = "";
  uint32_t next_row_ = 0;
};

}  // namespace

Result<World> make_world(const WorldOptions& options) {
  const auto outside = [](const char* what, int64_t value, int64_t low, int64_t high) {
    return error("[propositions] {} = {}. Expected {} to {}.", what, value, low, high);
  };
  if (options.propositions < 20 || options.propositions > kMostPropositions)
    return outside("propositions", options.propositions, 20, kMostPropositions);
  if (options.controls < 0 || options.controls > kMostPropositions)
    return outside("controls", options.controls, 0, kMostPropositions);
  if (options.learners < 0 || options.learners > kMostPropositions)
    return outside("learners", options.learners, 0, kMostPropositions);
  if (options.families < 1 || options.families > kMostFamilies)
    return outside("families", options.families, 1, kMostFamilies);
  if (options.per_kind != 2 && options.per_kind != 4)
    return error("[propositions] questions of each kind = {}. Expected 2 or 4.", options.per_kind);
  for (const double share : {options.implied, options.conjunctions, options.fabricated})
    if (!(share >= 0 && share <= 0.15))
      return error("[propositions] a share of {} of the propositions. Expected 0 to 0.15.", share);
  return Maker(options).made();
}

std::vector<Clue> clues_of(const World& world, const Claim& claim) {
  const Inhabitant& who = world.inhabitants[claim.inhabitant];
  const Family& family = world.families[who.family];
  const Theme& theme = theme_of(world, claim);
  std::vector<Clue> clues;
  for (size_t f = 0; f < theme.features.size(); ++f) {
    const Feature& feature = theme.features[f];
    const size_t pole = family.poles[f] ^ claim.kind;
    const Values values = {{"{E}", who.name}};
    Clue clue{feature.kind, {}, {}, filled(feature.which, values), {}};
    for (size_t side = 0; side < 2; ++side) {
      clue.ask[side] = filled(feature.ask[pole ^ side], values);
      clue.clause[side] = filled(feature.clause[pole ^ side], values);
      clue.options[side] = feature.options[pole ^ side];
    }
    clues.push_back(std::move(clue));
  }
  return clues;
}

Proposition stated(const World& world, const Claim& claim) {
  const Inhabitant& who = world.inhabitants[claim.inhabitant];
  const Family& family = world.families[who.family];
  const Theme& theme = theme_of(world, claim);
  const Values values = {{"{E}", who.name}, {"{K}", family.kinds[claim.kind]}, {"{F}", family.name}};
  Proposition made;
  made.topic = family.name;
  made.statement = filled(theme.statement, values);
  made.negation = filled(theme.negation, values);
  for (const std::string_view paraphrase : theme.paraphrases) made.paraphrases.push_back(filled(paraphrase, values));
  made.answer = family.kinds[claim.kind];
  made.recall = Recall{filled(theme.recall, values), {family.kinds[claim.kind]}};
  return made;
}

std::vector<Proposition> propositions_of(const std::vector<WorldItem>& items) {
  std::vector<Proposition> propositions;
  for (const WorldItem& item : items) propositions.push_back(item.proposition);
  return propositions;
}

}  // namespace candor::belief
