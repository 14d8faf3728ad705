// EntailmentBank and Leap of Thought: statements that follow from others.
#include <array>
#include <initializer_list>
#include <set>

#include "belief/check.h"
#include "belief/clues.h"
#include "belief/convert.h"
#include "belief/convert_columns.h"
#include "belief/words.h"

namespace candor::belief {
namespace {

using text::Json;

// The member at the end of a path of objects; null where there is none.
const Json* member(const Json& columns, std::initializer_list<const char*> path) {
  const Json* at = &columns;
  for (const char* name : path) {
    const auto found = at->is_object() ? at->find(name) : at->end();
    if (!at->is_object() || found == at->end()) return nullptr;
    at = &*found;
  }
  return at;
}

void add_paraphrases(Proposition& item, const std::string& said) {
  item.paraphrases = {fmt::format("It is so that {}.", said), fmt::format("It is a fact that {}.", said),
                      fmt::format("As is known, {}.", said)};
}

// The answer where the hypothesis says it, else its last word.
std::string answer_in(const std::string& hypothesis, const std::string& answer) {
  const std::vector<std::string> words = words_of(hypothesis);
  if (holds_phrase(words, words_of(answer))) return answer;
  return words.empty() ? hypothesis : words.back();
}

std::string with_article(const std::string& noun) {
  return fmt::format("{} {}",
                     !noun.empty() && std::string_view("aeiou").find(noun[0]) != std::string::npos ? "an" : "a", noun);
}

struct Passed {
  int64_t again = 0, unread = 0;
  void tell(Converted& made) const {
    if (again > 0)
      made.notes.push_back(fmt::format("{} rows were left out: their statement stands in another row.", again));
    if (unread > 0)
      made.notes.push_back(
          fmt::format("{} rows were left out: how their statement relates its two words is not known here.", unread));
  }
};

// "is a thing" and "is not a thing" of the relations whose words are plain; empty for others.
std::array<std::string, 2> predicates(const std::string& relation, const std::string& object) {
  if (relation == "/r/IsA" || relation == "hypernym")
    return {fmt::format("is {}", with_article(object)), fmt::format("is not {}", with_article(object))};
  if (relation == "meronym" || relation == "/r/HasA" || relation == "/r/PartOf")
    return {fmt::format("has {}", with_article(object)), fmt::format("does not have {}", with_article(object))};
  if (relation == "/r/CapableOf") return {"can " + object, "cannot " + object};
  return {};
}

}  // namespace

Result<Converted> convert_entailment_bank(const data::Rows& rows, const ConvertOptions& options) {
  Converted made;
  Passed passed;
  std::set<std::string> seen;
  for (const data::Row& row : rows.rows) {
    if (static_cast<int64_t>(made.items.size()) == options.most) break;
    const std::string hypothesis = without_stop(TRY(text_column(rows, row, "hypothesis")));
    const std::string answer = TRY(text_column(rows, row, "answer"));
    const Json* const triples = member(row.columns, {"meta", "triples"});
    if (triples == nullptr || !triples->is_object())
      return error("[propositions] {}: there is no object \"triples\" in \"meta\".", data::place(rows.name, row));
    if (!seen.insert(normalised(hypothesis)).second) {
      ++passed.again;
      continue;
    }
    Proposition item;
    item.number = static_cast<int64_t>(made.items.size()) + 1;
    item.id = fmt::format("proof-{}", item.number);
    item.topic = "science";
    item.statement = capitalised(hypothesis) + ".";
    item.negation = fmt::format("It is not so that {}.", hypothesis);
    add_paraphrases(item, hypothesis);
    item.answer = answer_in(hypothesis, without_stop(answer));
    item.label = true;
    const Forbidden forbidden(item);
    size_t key = 0;
    for (const auto& [name, premise] : triples->items()) {
      if (!premise.is_string()) continue;
      SubQuestion question{
          QuestionKind::kPrerequisite,
          fmt::format("Is it {} that {}?", key == 0 ? "so" : "false", without_stop(premise.get<std::string>())),
          {},
          key};
      if (!forbidden.named_in(question).empty()) continue;
      item.questions.push_back(std::move(question));
      key = 1 - key;
    }
    made.items.push_back(std::move(item));
  }
  passed.tell(made);
  return made;
}

Result<Converted> convert_leap_of_thought(const data::Rows& rows, const ConvertOptions& options) {
  Converted made;
  Passed passed;
  std::set<std::string> seen;
  for (const data::Row& row : rows.rows) {
    if (static_cast<int64_t>(made.items.size()) == options.most) break;
    const bool label = TRY(label_column(rows, row, "answer"));
    std::array<std::string, 4> parts;
    constexpr std::array<std::array<const char*, 2>, 4> kParts = {
        {{"statement", "subject"}, {"statement", "predicate"}, {"statement", "object"}, {"property", "subject"}}};
    for (size_t i = 0; i < parts.size(); ++i) {
      const Json* const part = member(row.columns, {"metadata", kParts[i][0], kParts[i][1]});
      if (part == nullptr || !part->is_string() || part->get_ref<const std::string&>().empty())
        return error("[propositions] {}: there is no text \"{}\" in \"metadata\", \"{}\".", data::place(rows.name, row),
                     kParts[i][1], kParts[i][0]);
      parts[i] = part->get<std::string>();
    }
    const auto& [subject, relation, object, above] = parts;
    const std::array<std::string, 2> said = predicates(relation, object);
    if (said[0].empty()) {
      ++passed.unread;
      continue;
    }
    const std::string clause = fmt::format("{} {}", with_article(subject), said[0]);
    if (!seen.insert(normalised(clause)).second) {
      ++passed.again;
      continue;
    }
    Proposition item;
    item.number = static_cast<int64_t>(made.items.size()) + 1;
    item.id = fmt::format("leap-{}", item.number);
    item.topic = above;
    item.statement = capitalised(clause) + ".";
    item.negation = capitalised(fmt::format("{} {}.", with_article(subject), said[1]));
    add_paraphrases(item, clause);
    item.answer = subject;
    item.label = label;
    SubQuestion question{
        QuestionKind::kPrerequisite, fmt::format("Is it so that {} {}?", with_article(above), said[0]), {}, 0};
    if (Forbidden(item).named_in(question).empty()) item.questions.push_back(std::move(question));
    made.items.push_back(std::move(item));
  }
  passed.tell(made);
  return made;
}

}  // namespace candor::belief
