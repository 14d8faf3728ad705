#include "belief/check.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <set>

#include "belief/words.h"
#include "statistics/proportions.h"

namespace candor::belief {
namespace {

constexpr size_t kFewestParaphrases = 3;
constexpr size_t kFewestQuestions = 8;
constexpr size_t kFewestPropositions = 400;
constexpr double kExampleShare = 0.05;  // of believed ones, in the note on the interval

using Faults = std::vector<PropositionFault>;

void check_wording(const Proposition& item, Faults& faults) {
  const std::string statement = normalised(item.statement);
  const auto fault = [&](const char* rule, std::string what) {
    faults.push_back({item.number, rule, std::move(what)});
  };
  if (normalised(item.negation) == statement)
    fault("negation", "the negation says the same as the statement. Write what is so where the statement is false.");
  std::set<std::string> distinct;
  for (const std::string& paraphrase : item.paraphrases) distinct.insert(normalised(paraphrase));
  distinct.erase(statement);
  distinct.erase(normalised(item.negation));
  if (distinct.size() < kFewestParaphrases)
    fault("paraphrases",
          fmt::format("{} different paraphrases, the statement and its negation not counted. Expected at "
                      "least {}.",
                      distinct.size(), kFewestParaphrases));
  if (!holds_phrase(words_of(item.statement), words_of(item.answer)))
    fault("answer", fmt::format("the answer \"{}\" does not stand in the statement. It is the words of the statement "
                                "that the sub-questions may not say.",
                                item.answer));
}

// The one of two answers that is given, counted: yes against no, A against B.
struct Keys {
  std::array<std::array<int64_t, 2>, 2> count{};  // [has options][which is if_true]
  void add(const SubQuestion& question) { ++count[question.options.empty() ? 0 : 1][question.if_true]; }
};

void check_balance(const Keys& keys, int64_t row, Faults& faults) {
  constexpr std::array<std::array<const char*, 2>, 2> kNames = {{{"yes", "no"}, {"A", "B"}}};
  for (size_t form = 0; form < 2; ++form) {
    const auto [first, second] = keys.count[form];
    if (std::abs(first - second) <= (first + second) % 2) continue;
    faults.push_back({row, "balance",
                      fmt::format("{} questions{} expect \"{}\" and {} \"{}\": an answer that is always the same would "
                                  "look like belief. {}",
                                  first, row == 0 ? " of all rows" : "", kNames[form][0], second, kNames[form][1],
                                  form == 0 ? "Ask some of them the other way round." : "Swap the options of some.")});
  }
}

// A question as it is asked, for finding it again: its words, and its options in their order.
std::string asked(const SubQuestion& question) {
  std::string words = normalised(question.text);
  for (const std::string& option : question.options) words += fmt::format("|{}", normalised(option));
  return words;
}

void check_questions(const Proposition& item, Faults& faults) {
  const auto fault = [&](const char* rule, std::string what) {
    faults.push_back({item.number, rule, std::move(what)});
  };
  if (item.questions.size() < kFewestQuestions)
    fault("count", fmt::format("{} sub-questions. Expected at least {}.", item.questions.size(), kFewestQuestions));
  std::array<bool, kQuestionKinds.size()> there{};
  std::map<std::string, size_t> seen;
  Keys keys;
  const Forbidden forbidden(item);
  for (size_t i = 0; i < item.questions.size(); ++i) {
    const SubQuestion& question = item.questions[i];
    there[static_cast<size_t>(question.kind)] = true;
    keys.add(question);
    if (!question.text.ends_with("?")) fault("form", fmt::format("question {} does not end with \"?\".", i + 1));
    if (question.options.size() == 2 && normalised(question.options[0]) == normalised(question.options[1]))
      fault("options", fmt::format("the options of question {} are the same.", i + 1));
    if (const std::string named = forbidden.named_in(question); !named.empty())
      fault("leak", fmt::format("question {} names {}. Ask for something that follows from it.", i + 1, named));
    const auto [first, is_new] = seen.emplace(asked(question), i + 1);
    if (!is_new) fault("duplicate", fmt::format("question {} is question {} again.", i + 1, first->second));
  }
  for (const QuestionKind kind : kQuestionKinds)
    if (!there[static_cast<size_t>(kind)])
      fault("kinds", fmt::format("no sub-question is of the kind \"{}\".", name_of(kind)));
  check_balance(keys, item.number, faults);
}

// What asks for the sentence may not tell which of the two is wanted: no forbidden phrase, and no word that stands in
// only one of them.
void check_say(const Proposition& item, Faults& faults) {
  const auto fault = [&](const std::string& named) {
    faults.push_back({item.number, "say",
                      fmt::format("\"say\" names {}, which tells one sentence from the other. Ask "
                                  "for either in the same words.",
                                  named)});
  };
  SubQuestion asked;
  asked.text = item.say;
  if (const std::string named = Forbidden(item).named_in(asked); !named.empty()) return fault(named);
  const std::vector<std::string> statement = words_of(item.statement), negation = words_of(item.negation);
  for (const std::string& word : words_of(item.say))
    if (holds_phrase(statement, {&word, 1}) != holds_phrase(negation, {&word, 1}))
      return fault(fmt::format("\"{}\"", word));
}

using Places = std::map<std::string, const Proposition*>;  // by id, the first of each

void check_references(const Proposition& item, const Places& places, Faults& faults) {
  const auto fault = [&](const char* rule, std::string what) {
    faults.push_back({item.number, rule, std::move(what)});
  };
  const auto check_ids = [&](const std::vector<std::string>& ids, const char* column) {
    for (const std::string& id : ids) {
      if (id == item.id)
        fault("reference", fmt::format("\"{}\" names the row's own id.", column));
      else if (!places.contains(id))
        fault("reference", fmt::format("\"{}\" names \"{}\", which is no id of this file.", column, id));
    }
  };
  check_ids(item.implies, "implies");
  check_ids(item.all_of, "all_of");
  if (!item.all_of.empty() && (item.all_of.size() != 2 || item.all_of[0] == item.all_of[1]))
    fault("reference", "\"all_of\" does not name two different propositions.");
}

const Proposition* found(const Places& places, const std::string& id) {
  const auto place = places.find(id);
  return place == places.end() ? nullptr : place->second;
}

// Labels must be possible together.
void check_labels(const Proposition& item, const Places& places, Faults& faults) {
  const auto fault = [&](std::string what) { faults.push_back({item.number, "labels", std::move(what)}); };
  if (item.fabricated && item.label) fault("it is fabricated and has a label. What does not exist is neither.");
  if (!item.label) return;
  for (const std::string& id : item.implies) {
    const Proposition* const implied = found(places, id);
    if (implied != nullptr && *item.label && implied->label == false)
      fault(fmt::format("it is true and implies \"{}\", which is false.", id));
  }
  if (item.all_of.size() != 2) return;
  const Proposition *const a = found(places, item.all_of[0]), *const b = found(places, item.all_of[1]);
  if (a == nullptr || b == nullptr || !a->label || !b->label || (*a->label && *b->label) == *item.label) return;
  fault(fmt::format("it is {} as the conjunction of a {} and a {} one.", *item.label, *a->label, *b->label));
}

// What may stand only once in a file, and questions that two rows answer in opposite ways.
void check_across(const Propositions& propositions, Faults& faults) {
  std::map<std::string, int64_t> ids, statements;
  struct Asked {
    int64_t row;
    size_t if_true;
  };
  std::map<std::string, Asked> questions;
  for (const Proposition& item : propositions.items) {
    const auto fault = [&](const char* rule, std::string what) {
      faults.push_back({item.number, rule, std::move(what)});
    };
    const auto [id, new_id] = ids.emplace(item.id, item.number);
    if (!new_id) fault("duplicate", fmt::format("the id \"{}\" is that of row {}.", item.id, id->second));
    const auto [statement, new_statement] = statements.emplace(normalised(item.statement), item.number);
    if (!new_statement) fault("duplicate", fmt::format("its statement is that of row {}.", statement->second));
    for (size_t i = 0; i < item.questions.size(); ++i) {
      const SubQuestion& question = item.questions[i];
      const auto [first, is_new] = questions.emplace(asked(question), Asked{item.number, question.if_true});
      if (is_new || first->second.if_true == question.if_true || first->second.row == item.number) continue;
      fault("conflict",
            fmt::format("question {} is asked in row {} too, where the statement's side answers the opposite. "
                        "One key is wrong, or the statements exclude each other: keep one.",
                        i + 1, first->second.row));
    }
  }
}

}  // namespace

Forbidden::Forbidden(const Proposition& item) {
  const auto add = [&](const char* name, const std::string& text) { phrases_.push_back({name, text, words_of(text)}); };
  add("the answer", item.answer);
  add("the statement", item.statement);
  add("the negation", item.negation);
  for (const std::string& paraphrase : item.paraphrases) add("a paraphrase", paraphrase);
}

std::string Forbidden::named_in(const SubQuestion& question) const {
  std::vector<std::vector<std::string>> texts = {words_of(question.text)};
  for (const std::string& option : question.options) texts.push_back(words_of(option));
  for (const Phrase& phrase : phrases_)
    for (size_t i = 0; i < texts.size(); ++i)
      if (holds_phrase(texts[i], phrase.words))
        return fmt::format("{}, \"{}\"{}", phrase.name, phrase.text, i == 0 ? "" : ", in its options");
  return "";
}

std::vector<PropositionFault> check_propositions(const Propositions& propositions) {
  Faults faults;
  Places places;
  for (const Proposition& item : propositions.items) places.emplace(item.id, &item);
  Keys keys;
  for (const Proposition& item : propositions.items) {
    check_wording(item, faults);
    check_questions(item, faults);
    check_say(item, faults);
    check_references(item, places, faults);
    check_labels(item, places, faults);
    for (const SubQuestion& question : item.questions) keys.add(question);
  }
  check_across(propositions, faults);
  check_balance(keys, 0, faults);
  std::stable_sort(faults.begin(), faults.end(), [](const PropositionFault& a, const PropositionFault& b) {
    return (a.row == 0 ? INT64_MAX : a.row) < (b.row == 0 ? INT64_MAX : b.row);
  });
  return faults;
}

std::vector<std::string> notes_on(const Propositions& propositions) {
  const auto n = static_cast<int64_t>(propositions.items.size());
  if (propositions.items.size() >= kFewestPropositions) return {};
  const auto believed = static_cast<int64_t>(kExampleShare * static_cast<double>(n) + 0.5);
  const statistics::Interval interval = statistics::clopper_pearson(believed, n);
  return {
      fmt::format("{} propositions: if {} of them are found believed, the 95% interval is {:.1f} to {:.1f}%, without "
                  "what the controls add. {} or more make it narrower.",
                  n, believed, 100 * interval.low, 100 * interval.high, kFewestPropositions)};
}

}  // namespace candor::belief
