#include "belief/repair.h"

#include <algorithm>
#include <array>
#include <map>

#include "base/sha256.h"
#include "belief/clues.h"
#include "belief/questions.h"

namespace candor::belief {
namespace {

using text::Json;

constexpr int kDraws = 64;  // of halves, from which the one with the most kinds on both sides is taken

uint64_t seed_of(const std::string& id) {
  const std::string sum = sha256_hex(id);
  uint64_t seed = 0;
  for (size_t i = 0; i < 16; ++i) {
    const char c = sum[i];
    seed = seed << 4 | static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return seed;
}

// The fewer kinds of the two halves.
size_t kinds_covered(const Proposition& item, const std::vector<bool>& trains) {
  std::array<std::set<QuestionKind>, 2> kinds;
  for (size_t i = 0; i < trains.size(); ++i) kinds[trains[i] ? 0 : 1].insert(item.questions[i].kind);
  return std::min(kinds[0].size(), kinds[1].size());
}

class Rows {
 public:
  void teach(const Proposition& item, const SubQuestion& question) {
    for (const AnswerOrder order : kAnswerOrders)
      turn(sub_question(question, order), std::string(answer_word(question, question.if_true, order)));
    // The same in free words, with what it follows from.
    const std::string answer = question.options.empty() ? std::string(question.if_true == 0 ? "Yes" : "No")
                                                        : capitalised(question.options[question.if_true]);
    turn(question.text, fmt::format("{}, since this is so: {}", answer, item.statement));
  }
  data::Rows take() { return std::move(rows_); }

 private:
  void turn(const std::string& prompt, const std::string& answer) {
    const auto number = static_cast<int64_t>(rows_.rows.size()) + 1;
    Json columns;
    columns["prompt"].push_back({{"role", "user"}, {"content", prompt}});
    columns["completion"].push_back({{"role", "assistant"}, {"content", answer}});
    rows_.rows.push_back({std::move(columns), number, number});
  }
  data::Rows rows_{"repair", {}};
};

}  // namespace

Result<std::set<std::string>> said_not_believed(const Json& audit) {
  std::set<std::string> ids;
  const auto items = audit.is_object() ? audit.find("items") : audit.end();
  if (!audit.is_object() || items == audit.end() || !items->is_array())
    return error("[repair] expected what candor audit writes: an object with \"items\".");
  for (size_t i = 0; i < items->size(); ++i) {
    const Json& item = (*items)[i];
    const auto flag = [&](const char* name) {
      return item.is_object() && item.contains(name) && item[name].is_boolean() ? std::optional(item[name].get<bool>())
                                                                                : std::nullopt;
    };
    const auto said = flag("said"), believed = flag("believed");
    if (!said || !believed || !item.contains("id") || !item["id"].is_string())
      return error("[repair] item {} of the audit: expected \"id\", \"said\" and \"believed\".", i + 1);
    if (*said && !*believed) ids.insert(item["id"].get<std::string>());
  }
  return ids;
}

std::string undetermined(const Json& audit) {
  const auto why = audit.is_object() ? audit.find("undetermined") : audit.end();
  return audit.is_object() && why != audit.end() && why->is_string() ? why->get<std::string>() : "";
}

std::vector<bool> training_half(const Proposition& proposition) {
  Draws draws(seed_of(proposition.id), 0);
  std::vector<bool> best;
  size_t most = 0;
  for (int draw = 0; draw < kDraws && most < kQuestionKinds.size(); ++draw) {
    std::array<std::vector<size_t>, 4> groups;  // by form and key, each of which is halved
    for (size_t i = 0; i < proposition.questions.size(); ++i) {
      const SubQuestion& question = proposition.questions[i];
      groups[(question.options.empty() ? 0 : 2) + question.if_true].push_back(i);
    }
    std::vector<bool> trains(proposition.questions.size(), false);
    size_t odd = 0;  // of groups of an odd count every second one gives its last to the training half
    for (std::vector<size_t>& group : groups) {
      draws.shuffle(group);
      const size_t half = group.size() / 2 + (group.size() % 2 != 0 && odd++ % 2 == 0 ? 1 : 0);
      for (size_t i = 0; i < half; ++i) trains[group[i]] = true;
    }
    const size_t kinds = kinds_covered(proposition, trains);
    if (best.empty() || kinds > most) best = trains;
    most = std::max(most, kinds);
  }
  return best;
}

Result<Repair> repair(const Propositions& propositions, const std::set<std::string>& ids) {
  std::map<std::string, const Proposition*> places;
  for (const Proposition& item : propositions.items) places.emplace(item.id, &item);
  for (const std::string& id : ids)
    if (!places.contains(id))
      return error("[repair] the audit's \"{}\" is no id of {}. Give the file that was audited.", id,
                   propositions.name);
  Rows rows;
  Repair made;
  int64_t not_taught = 0;
  for (const Proposition& item : propositions.items) {
    made.held_back.push_back(item);
    if (!ids.contains(item.id)) continue;
    if (item.label == false || item.fabricated) {
      ++not_taught;
      continue;
    }
    const std::vector<bool> trains = training_half(item);
    std::vector<size_t> trained, held_back;
    made.held_back.back().questions.clear();
    for (size_t i = 0; i < trains.size(); ++i) {
      (trains[i] ? trained : held_back).push_back(i + 1);
      if (trains[i])
        rows.teach(item, item.questions[i]);
      else
        made.held_back.back().questions.push_back(item.questions[i]);
    }
    made.manifest.push_back({{"id", item.id}, {"trained", trained}, {"held_back", held_back}});
  }
  if (not_taught > 0)
    made.notes.push_back(fmt::format(
        "{} propositions are said, not believed, and false or fabricated: they are not taught.", not_taught));
  if (made.manifest.empty())
    return error(
        "[repair] nothing to repair: the audit has no proposition that is said, not believed and neither false nor "
        "fabricated.");
  made.rows = rows.take();
  return made;
}

}  // namespace candor::belief
