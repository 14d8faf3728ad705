// The other true and false statements of Geometry of Truth: comparisons of numbers, meanings of Spanish words.
#include <algorithm>
#include <set>

#include "belief/clues.h"
#include "belief/convert.h"
#include "belief/convert_columns.h"

namespace candor::belief {
namespace {

constexpr auto kNeeds = QuestionKind::kPrerequisite;
constexpr auto kFollows = QuestionKind::kConsequence;
constexpr auto kExcludes = QuestionKind::kContradiction;
constexpr auto kUses = QuestionKind::kUse;

// What is so where a is the larger one of the two; on the other side b is.
std::vector<Clue> clues_of(int64_t a, int64_t b) {
  const auto with = [&](std::string_view pattern) {
    return filled(pattern, {{"{a}", std::to_string(a)}, {"{b}", std::to_string(b)}});
  };
  const auto clue = [&](QuestionKind kind, std::array<std::string_view, 2> ask, std::string_view which,
                        std::array<std::string_view, 2> options) {
    return Clue{kind, {with(ask[0]), with(ask[1])}, {}, with(which), {with(options[0]), with(options[1])}};
  };
  return {
      clue(kNeeds, {"Is {a} - {b} above zero?", "Is {a} - {b} below zero?"}, "Where does {a} - {b} lie?",
           {"above zero", "below zero"}),
      clue(kNeeds,
           {"You count up from one. Do you say {b} before {a}?", "You count up from one. Do you say {a} before {b}?"},
           "You count up from one. Which number do you say first?", {"{b}", "{a}"}),
      clue(kFollows, {"Is twice {a} more than twice {b}?", "Is twice {a} less than twice {b}?"},
           "What is twice {a}, beside twice {b}?", {"more", "less"}),
      clue(kFollows, {"Is {a} + 10 more than {b} + 10?", "Is {a} + 10 less than {b} + 10?"},
           "What is {a} + 10, beside {b} + 10?", {"more", "less"}),
      clue(kExcludes,
           {"Is it impossible to take {a} nuts out of a heap of {b}?",
            "Is it impossible to take {b} nuts out of a heap of {a}?"},
           "Which of these is impossible?",
           {"to take {a} nuts out of a heap of {b}", "to take {b} nuts out of a heap of {a}"}),
      clue(kExcludes,
           {"Is it impossible to seat {a} guests on {b} chairs?", "Is it impossible to seat {b} guests on {a} chairs?"},
           "Which of these can nobody do, with a chair for each guest?",
           {"seat {a} guests on {b} chairs", "seat {b} guests on {a} chairs"}),
      clue(kUses,
           {"Ann has {a} coins and Bo has {b}. Does Ann have more?",
            "Ann has {a} coins and Bo has {b}. Does Bo have more?"},
           "Ann has {a} coins and Bo has {b}. Who has more?", {"Ann", "Bo"}),
      clue(kUses,
           {"You have {a} coins. Can you buy something for {b} coins?",
            "You have {a} coins. Do you have too few for something that costs {b} coins?"},
           "You have {a} coins and something costs {b}. What do you do?", {"buy it", "save up"}),
  };
}

Result<std::string> word_between(const data::Rows& rows, const data::Row& row, const std::string& statement) {
  for (const char* word : {"larger", "smaller"})
    if (statement.find(fmt::format(" is {} than ", word)) != std::string::npos) return std::string(word);
  return error(
      "[propositions] {}: the statement is \"{}\". Expected \"… is larger than …\" or \"… is smaller than …\".",
      data::place(rows.name, row), statement);
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

Proposition comparison(const std::string& statement, const std::string& word, bool label) {
  Proposition made;
  made.topic = "numbers";
  made.statement = statement;
  made.negation = replaced(statement, " is ", " is not ");
  const std::string said = without_stop(statement);
  const std::string other = word == "larger" ? "smaller" : "larger";
  const size_t middle = said.find(fmt::format(" is {} than ", word));
  const std::string first = uncapitalised(said.substr(0, middle)), second = said.substr(middle + word.size() + 10);
  made.paraphrases = {fmt::format("{} is {} than {}.", capitalised(second), other, first),
                      fmt::format("Of {} and {}, the {} one is the first.", first, second, word),
                      fmt::format("It is so that {} is {} than {}.", first, word, second)};
  made.answer = word;
  made.label = label;
  return made;
}

}  // namespace

Result<Converted> convert_comparisons(const data::Rows& rows, const ConvertOptions& options) {
  struct Pair {
    std::string statement, word;
    int64_t a, b;
    bool label;
  };
  std::vector<Pair> pairs;
  for (const data::Row& row : rows.rows) {
    const std::string statement = TRY(text_column(rows, row, "statement"));
    const std::string word = TRY(word_between(rows, row, statement));
    const int64_t a = TRY(integer_column(rows, row, "n1"))
    , b = TRY(integer_column(rows, row, "n2"));
    const bool label = TRY(label_column(rows, row, "label"));
    if (a < 1 || b < 1 || a == b || label != (word == "larger" ? a > b : a < b))
      return error("[propositions] {}: n1 {}, n2 {} and label {} do not fit \"{}\".", data::place(rows.name, row), a, b,
                   label ? 1 : 0, statement);
    pairs.push_back({statement, word, a, b, label});
  }
  Draws order(options.seed, 0);
  order.shuffle(pairs);
  Converted made;
  std::set<std::pair<int64_t, int64_t>> seen;
  int64_t again = 0, lead = 0;  // lead: by how many the true ones are more
  for (const Pair& pair : pairs) {
    if (static_cast<int64_t>(made.items.size()) == options.most) break;
    if (pair.label ? lead > 0 : lead < 0) continue;
    if (!seen.emplace(std::min(pair.a, pair.b), std::max(pair.a, pair.b)).second) {
      ++again;
      continue;
    }
    Proposition item = comparison(pair.statement, pair.word, pair.label);
    Draws draws(options.seed, static_cast<uint32_t>(made.items.size()) + 1);
    const bool larger = pair.word == "larger";
    item.questions =
        draw_questions(item, clues_of(larger ? pair.a : pair.b, larger ? pair.b : pair.a), options.per_kind, draws);
    item.number = static_cast<int64_t>(made.items.size()) + 1;
    item.id = fmt::format("numbers-{}", item.number);
    made.items.push_back(std::move(item));
    lead += pair.label ? 1 : -1;
  }
  if (again > 0)
    made.notes.push_back(
        fmt::format("{} rows were passed over: their two numbers are those of a row that is there.", again));
  return made;
}

Result<Converted> convert_translations(const data::Rows& rows, const ConvertOptions& options) {
  Converted made;
  std::set<std::string> seen;
  int64_t again = 0;
  for (const data::Row& row : rows.rows) {
    if (static_cast<int64_t>(made.items.size()) == options.most) break;
    const std::string statement = TRY(text_column(rows, row, "statement"));
    const bool label = TRY(label_column(rows, row, "label"));
    const size_t middle = statement.find("' means '"), begin = statement.find('\'');
    if (middle == std::string::npos || begin >= middle || !statement.ends_with("'."))
      return error("[propositions] {}: the statement is \"{}\". Expected \"The Spanish word '…' means '…'.\"",
                   data::place(rows.name, row), statement);
    if (!seen.insert(statement).second) {
      ++again;
      continue;
    }
    const std::string word = statement.substr(begin + 1, middle - begin - 1);
    const std::string meaning = statement.substr(middle + 9, statement.size() - middle - 11);
    Proposition item;
    item.number = static_cast<int64_t>(made.items.size()) + 1;
    item.id = fmt::format("words-{}", item.number);
    item.topic = "words";
    item.statement = statement;
    item.negation = replaced(statement, "' means '", "' does not mean '");
    item.paraphrases = {fmt::format("In Spanish, '{}' is the word for '{}'.", word, meaning),
                        fmt::format("A Spanish speaker who says '{}' means '{}'.", word, meaning),
                        fmt::format("'{}' is what the Spanish '{}' means in English.", meaning, word)};
    item.answer = meaning;
    item.label = label;
    item.recall = Recall{fmt::format("What does the Spanish word '{}' mean in English?", word), {meaning}};
    made.items.push_back(std::move(item));
  }
  if (again > 0)
    made.notes.push_back(fmt::format("{} rows were passed over: their statement stands in another row.", again));
  made.notes.push_back(
      fmt::format("{} propositions have no sub-questions: nothing that follows from a word's meaning is "
                  "known here. candor propositions draft asks a model for them.",
                  made.items.size()));
  return made;
}

}  // namespace candor::belief
