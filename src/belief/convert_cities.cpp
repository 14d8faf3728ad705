// cities.csv and cities_cities_conj.csv of Geometry of Truth.
#include <algorithm>
#include <map>

#include "belief/clues.h"
#include "belief/convert.h"
#include "belief/convert_columns.h"
#include "belief/countries.h"
#include "belief/words.h"

namespace candor::belief {
namespace {

constexpr auto kNeeds = QuestionKind::kPrerequisite;
constexpr auto kFollows = QuestionKind::kConsequence;
constexpr auto kExcludes = QuestionKind::kContradiction;
constexpr auto kUses = QuestionKind::kUse;

// A fact of which the two countries have different values. {C} is the city, {V} the value of the side that the pattern
// is filled for; `foreign` swaps the sides: what is foreign if the city lies in the one country is what the other has.
struct Pattern {
  QuestionKind kind;
  std::string_view Country::*fact;
  bool foreign;
  std::string_view ask, clause, which, option;
};

constexpr Pattern kPatterns[] = {
    {kNeeds, &Country::continent, false, "Does {C} lie in {V}?", "{C} lies in {V}",
     "In which part of the world does {C} lie?", "in {V}"},
    {kNeeds, &Country::hemisphere, false, "Does {C} lie {V} of the equator?", "{C} lies {V} of the equator",
     "On which side of the equator does {C} lie?", "{V} of it"},
    {kNeeds, &Country::capital, false, "Is {C} governed from {V}?", "{C} is governed from {V}",
     "From which capital is {C} governed?", "{V}"},
    {kFollows, &Country::currency, false, "Is the {V} the money of the shops in {C}?",
     "the {V} is the money of the shops in {C}", "What is the money of the shops in {C}?", "the {V}"},
    {kFollows, &Country::language, false, "Do state offices in {C} write in {V}?", "state offices in {C} write in {V}",
     "In which language do state offices in {C} write?", "{V}"},
    {kFollows, &Country::driving_side, false, "Do cars in {C} keep to the {V}?", "cars in {C} keep to the {V}",
     "To which side do cars in {C} keep?", "the {V}"},
    {kFollows, &Country::neighbour, false, "Does the state that {C} belongs to border on {V}?",
     "the state that {C} belongs to borders on {V}", "On what does the state that {C} belongs to border?", "{V}"},
    {kExcludes, &Country::calling_code, true, "Is a telephone number with {V} a foreign one in {C}?",
     "a telephone number with {V} is a foreign one in {C}", "Which telephone number is a foreign one in {C}?",
     "one with {V}"},
    {kExcludes, &Country::currency, true, "Is the {V} foreign money in {C}?", "the {V} is foreign money in {C}",
     "Which of these is foreign money in {C}?", "the {V}"},
    {kExcludes, &Country::capital, true, "Is somebody who lives in {V} a foreigner in {C}?",
     "somebody who lives in {V} is a foreigner in {C}", "Who is a foreigner in {C}?", "somebody who lives in {V}"},
    {kUses, &Country::calling_code, false, "You call {C} from abroad. Do you dial {V} first?",
     "to call {C} from abroad one dials {V} first", "You call {C} from abroad. What do you dial first?", "{V}"},
    {kUses, &Country::capital, false, "Is a flight from {C} to {V} a domestic one?",
     "a flight from {C} to {V} is a domestic one", "Which flight from {C} is a domestic one?", "the one to {V}"},
    {kUses, &Country::domain, false, "You look for a web site of the town hall of {C}. Does its address end in {V}?",
     "the web address of the town hall of {C} ends in {V}", "How does the web address of the town hall of {C} end?",
     "in {V}"},
};

std::string_view spoken(std::string_view Country::*fact, std::string_view value) {
  if (fact == &Country::hemisphere) return value == "N" ? "north" : "south";
  return value;
}

bool differ(const Country& here, const Country& there, std::string_view Country::*fact, const std::string& city) {
  const std::string_view a = here.*fact, b = there.*fact;
  if (a.empty() || b.empty() || a == b) return false;
  if (fact == &Country::capital) return normalised(a) != normalised(city) && normalised(b) != normalised(city);
  // On one continent the neighbour of the one may border on the other as well.
  if (fact == &Country::neighbour) return differ(here, there, &Country::continent, city);
  return true;
}

std::vector<Clue> clues_of(const std::string& city, const Country& here, const Country& there) {
  std::vector<Clue> clues;
  for (const Pattern& pattern : kPatterns) {
    if (!differ(here, there, pattern.fact, city)) continue;
    Clue clue{pattern.kind, {}, {}, filled(pattern.which, {{"{C}", city}}), {}};
    for (size_t side = 0; side < 2; ++side) {
      const Country& of = (side == 0) != pattern.foreign ? here : there;
      const std::string_view value = spoken(pattern.fact, of.*pattern.fact);
      clue.ask[side] = filled(pattern.ask, {{"{C}", city}, {"{V}", value}});
      clue.clause[side] = filled(pattern.clause, {{"{C}", city}, {"{V}", value}});
      clue.options[side] = filled(pattern.option, {{"{V}", value}});
    }
    clues.push_back(std::move(clue));
  }
  return clues;
}

// What cities.csv says of a city: its country, and another.
struct City {
  std::string name, country, other;
};

Result<std::vector<City>> read_cities(const data::Rows& rows) {
  std::vector<City> cities;
  std::map<std::string, size_t> places;
  for (const data::Row& row : rows.rows) {
    const std::string name = TRY(text_column(rows, row, "city"))
    , country = TRY(text_column(rows, row, "country"));
    const std::string correct = TRY(text_column(rows, row, "correct_country"));
    const bool label = TRY(label_column(rows, row, "label"));
    if (label != (country == correct))
      return error("[propositions] {}: \"label\" is {} for country \"{}\" and correct_country \"{}\".",
                   data::place(rows.name, row), label ? 1 : 0, country, correct);
    const auto [place, is_new] = places.emplace(name, cities.size());
    if (is_new) cities.push_back({name, correct, ""});
    City& city = cities[place->second];
    if (city.country == correct && !label && city.other.empty()) city.other = country;
  }
  return cities;
}

Proposition stated(const std::string& city, const std::string& country, const std::string& topic, bool label) {
  Proposition made;
  made.topic = topic;
  made.statement = fmt::format("The city of {} is in {}.", city, country);
  made.negation = fmt::format("The city of {} is not in {}.", city, country);
  made.paraphrases = {fmt::format("{} is a city in {}.", city, country),
                      fmt::format("The city of {} lies in {}.", city, country),
                      fmt::format("The country where one finds the city of {} is {}.", city, country)};
  made.answer = country.starts_with("the ") ? country.substr(4) : country;
  made.label = label;
  made.recall = Recall{fmt::format("In which country is the city of {}?", city), {country}};
  return made;
}

// Builds the propositions one by one; remembers their clues for the conjunctions.
class Builder {
 public:
  explicit Builder(const ConvertOptions& options) : options_(options) {}

  bool full() const { return static_cast<int64_t>(made_.items.size()) >= options_.most; }
  int64_t left_out() const { return left_out_; }

  void add_city(const City& city) {
    const Country *const here = find_country(city.country), *const there = find_country(city.other);
    if (here == nullptr || there == nullptr) {
      ++unknown_;
      return;
    }
    const bool first = true_ <= false_;  // what is behind is tried first
    if (!add(city, *here, *there, first) && !add(city, *here, *there, !first)) ++left_out_;
  }

  void add_conjunction(const std::string& statement, const std::string& first, const std::string& second) {
    const auto a = by_statement_.find(first), b = by_statement_.find(second);
    if (a == by_statement_.end() || b == by_statement_.end() || a->second == b->second) return;
    const Proposition &one = made_.items[a->second], &two = made_.items[b->second];
    Proposition both;
    both.topic = one.topic;
    both.statement = statement;
    both.negation = fmt::format("It is not so that {}", uncapitalised(statement));
    const auto part = [](const Proposition& of) { return uncapitalised(without_stop(of.statement)); };
    both.paraphrases = {fmt::format("Both are so: {}, and {}.", part(one), part(two)),
                        fmt::format("It is so that {} and that {}.", part(one), part(two)),
                        fmt::format("It is so that {} and that {}.", part(two), part(one))};
    both.answer = one.answer;
    both.label = *one.label && *two.label;
    both.all_of = {one.id, two.id};
    both.implies = both.all_of;
    push(std::move(both), conjunction_clues(clues_[a->second], clues_[b->second]));
  }

  Converted done(size_t cities) {
    if (unknown_ > 0)
      made_.notes.push_back(
          fmt::format("{} of {} cities were left out: nothing is known here of their country or of the "
                      "one that the file contrasts it with.",
                      unknown_, cities));
    if (left_out_ > 0)
      made_.notes.push_back(
          fmt::format("{} of {} cities were left out: their two countries do not differ in enough that is known here.",
                      left_out_, cities));
    return std::move(made_);
  }

 private:
  bool add(const City& city, const Country& here, const Country& there, bool label) {
    const std::string topic(here.continent.empty() ? "two continents" : here.continent);
    Proposition made = stated(city.name, label ? city.country : city.other, topic, label);
    if (!push(std::move(made), label ? clues_of(city.name, here, there) : clues_of(city.name, there, here)))
      return false;
    ++(label ? true_ : false_);
    return true;
  }

  bool push(Proposition made, std::vector<Clue> clues) {
    Draws draws(options_.seed, static_cast<uint32_t>(made_.items.size()));
    made.questions = draw_questions(made, clues, options_.per_kind, draws);
    if (made.questions.empty()) return false;
    made.number = static_cast<int64_t>(made_.items.size()) + 1;
    made.id = fmt::format("city-{}", made.number);
    by_statement_.emplace(made.statement, made_.items.size());
    made_.items.push_back(std::move(made));
    clues_.push_back(std::move(clues));
    return true;
  }

  const ConvertOptions& options_;
  Converted made_;
  std::vector<std::vector<Clue>> clues_;
  std::map<std::string, size_t> by_statement_;
  int64_t true_ = 0, false_ = 0, unknown_ = 0, left_out_ = 0;
};

}  // namespace

Result<Converted> convert_cities(const data::Rows& rows, const data::Rows& conjunctions,
                                 const ConvertOptions& options) {
  const std::vector<City> cities = TRY(read_cities(rows));
  Builder builder(options);
  for (const City& city : cities)
    if (!builder.full()) builder.add_city(city);
  for (const data::Row& row : conjunctions.rows) {
    const std::string statement = TRY(text_column(conjunctions, row, "statement"));
    const std::string first = TRY(text_column(conjunctions, row, "statement1"));
    const std::string second = TRY(text_column(conjunctions, row, "statement2"));
    if (!builder.full()) builder.add_conjunction(statement, first, second);
  }
  return builder.done(cities.size());
}

}  // namespace candor::belief
