#include "belief/draft.h"

#include <algorithm>
#include <array>
#include <set>

#include "belief/check.h"
#include "belief/words.h"

namespace candor::belief {
namespace {

using text::Json;

constexpr size_t kParaphrases = 3;

constexpr std::array<const char*, 4> kHints = {
    "Ask for what must be so first, if the statement is to hold.", "Ask for what follows from the statement.",
    "Ask for what the statement rules out.", "Ask for something that one works out or decides with the statement."};

std::string trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r"), end = text.find_last_not_of(" \t\r");
  return begin == std::string_view::npos ? "" : std::string(text.substr(begin, end - begin + 1));
}

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(at, begin), text.size());
    parts.push_back(trimmed(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return parts;
}

// What stands behind `name` at the start of a field; nothing where another name does.
std::optional<std::string> field(const std::string& part, std::string_view name) {
  if (!part.starts_with(name)) return std::nullopt;
  return trimmed(std::string_view(part).substr(name.size()));
}

std::optional<SubQuestion> parsed(const std::string& line, QuestionKind kind) {
  const std::vector<std::string> parts = split(line, '|');
  if (parts.size() != 3 && parts.size() != 5) return std::nullopt;
  const bool has_options = parts.size() == 5;
  SubQuestion question{kind, *field(parts[0], "Q:"), {}, 0};
  if (has_options) {
    const auto a = field(parts[1], "A:"), b = field(parts[2], "B:");
    if (!a || !b || a->empty() || b->empty()) return std::nullopt;
    question.options = {*a, *b};
  }
  const auto if_true = field(parts[parts.size() - 2], "if true:"), if_false = field(parts.back(), "if false:");
  const std::array<std::string, 2> answers =
      has_options ? std::array<std::string, 2>{"A", "B"} : std::array<std::string, 2>{"yes", "no"};
  const auto key = std::find(answers.begin(), answers.end(), if_true.value_or(""));
  if (key == answers.end() || std::find(answers.begin(), answers.end(), if_false.value_or("")) == answers.end())
    return std::nullopt;
  question.if_true = static_cast<size_t>(key - answers.begin());
  if (*if_true == *if_false) question.text.clear();  // told apart by the caller
  return question;
}

size_t count_of(const Proposition& item, QuestionKind kind) {
  return static_cast<size_t>(std::count_if(item.questions.begin(), item.questions.end(),
                                           [&](const SubQuestion& question) { return question.kind == kind; }));
}

// Why the validator would refuse a question of this proposition; empty: it would not.
std::string refusal(const Proposition& item, const SubQuestion& question) {
  if (!question.text.ends_with("?")) return "does not end with \"?\"";
  if (question.options.size() == 2 && normalised(question.options[0]) == normalised(question.options[1]))
    return "its options are the same";
  if (!Forbidden(item).named_in(question).empty()) return "gives the answer away";
  for (const SubQuestion& other : item.questions)
    if (normalised(other.text) == normalised(question.text)) return "asks the same again";
  return "";
}

void swap_options(SubQuestion& question) {
  std::swap(question.options[0], question.options[1]);
  question.if_true = 1 - question.if_true;
}

// Keys A and B in turn, going on from item to item; of yes and no as many of the one as of the other, the superfluous
// ones taken from the kind that has most.
void balance(Proposition& item, size_t& turn, std::map<std::string, int64_t>& dropped) {
  for (SubQuestion& question : item.questions)
    if (!question.options.empty() && question.if_true != turn++ % 2) swap_options(question);
  while (true) {
    std::array<int64_t, 2> keys{};
    for (const SubQuestion& question : item.questions)
      if (question.options.empty()) ++keys[question.if_true];
    if (keys[0] == keys[1]) return;
    const size_t more = keys[0] > keys[1] ? 0 : 1;
    auto worst = item.questions.end();
    for (auto at = item.questions.begin(); at != item.questions.end(); ++at)
      if (at->options.empty() && at->if_true == more &&
          (worst == item.questions.end() || count_of(item, at->kind) >= count_of(item, worst->kind)))
        worst = at;
    item.questions.erase(worst);
    ++dropped["one yes or no too many"];
  }
}

struct Wanted {
  size_t item;
  std::optional<QuestionKind> kind;  // none: paraphrases
};

void take_paraphrases(Proposition& item, const std::string& text) {
  std::set<std::string> there = {normalised(item.statement), normalised(item.negation)};
  for (const std::string& paraphrase : item.paraphrases) there.insert(normalised(paraphrase));
  for (const std::string& line : split(text, '\n')) {
    const auto paraphrase = field(line, "P:");
    if (paraphrase && !paraphrase->empty() && there.insert(normalised(*paraphrase)).second)
      item.paraphrases.push_back(*paraphrase);
  }
}

// Leaves what the validator lets pass, and counts the rest.
void judge(Drafted& made) {
  for (bool all_well = false; !all_well;) {
    for (size_t i = 0; i < made.items.size(); ++i) made.items[i].number = static_cast<int64_t>(i) + 1;
    std::set<int64_t> bad;
    for (const PropositionFault& fault : check_propositions({"draft", made.items}))
      if (fault.row > 0) bad.insert(fault.row);
    made.incomplete += static_cast<int64_t>(bad.size());
    std::erase_if(made.items, [&](const Proposition& item) { return bad.contains(item.number); });
    all_well = bad.empty();  // what is gone may have been what another row names
  }
}

}  // namespace

Result<Propositions> statements_to_draft(const data::Rows& rows) {
  data::Rows filled_in{rows.name, {}};
  for (data::Row row : rows.rows) {
    Json& columns = row.columns;
    const auto fill = [&](const char* name, const std::string& value) {
      if (!columns.contains(name) || columns[name].is_null()) columns[name] = value;
    };
    if (columns.contains("statement") && columns["statement"].is_string()) {
      const auto statement = columns["statement"].get<std::string>();
      const std::vector<std::string> words = words_of(statement);
      fill("id", fmt::format("draft-{}", row.number));
      fill("topic", "all");
      fill("negation", fmt::format("This is not so: {}", statement));
      if (!words.empty()) fill("answer", words.back());
    }
    filled_in.rows.push_back(std::move(row));
  }
  return parse_propositions(filled_in);
}

std::string question_prompt(const Proposition& item, QuestionKind kind, size_t count) {
  return fmt::format(
      "Statement: {}\nDenial: {}\n\nWrite {} questions that somebody who holds the statement answers otherwise than "
      "somebody who holds the denial. {} Do not use \"{}\" in any question or option, and do not repeat the statement. "
      "Some "
      "answers shall be yes if the statement is true, some no, some one of two options.\n\nWrite each question on one "
      "line, in one of these two forms and nothing else:\nQ: question? | if true: yes | if false: no\nQ: question? | "
      "A: "
      "option | B: option | if true: A | if false: B",
      item.statement, item.negation, count, kHints[static_cast<size_t>(kind)], item.answer);
}

std::string paraphrase_prompt(const Proposition& item, size_t count) {
  return fmt::format(
      "Say this in {} other ways that mean the same, each as a whole sentence on one line that begins with P:\n{}",
      count, item.statement);
}

std::vector<SubQuestion> parse_questions(const std::string& text, QuestionKind kind,
                                         std::map<std::string, int64_t>& dropped) {
  std::vector<SubQuestion> questions;
  for (const std::string& line : split(text, '\n')) {
    if (!line.starts_with("Q:")) continue;
    auto question = parsed(line, kind);
    if (!question)
      ++dropped["is not in the form"];
    else if (question->text.empty())
      ++dropped["both sides answer alike"];
    else
      questions.push_back(*std::move(question));
  }
  return questions;
}

Result<Drafted> draft(const Propositions& statements, const Writer& write, const DraftOptions& options) {
  Drafted made;
  made.items = statements.items;
  for (int64_t round = 0; round < options.rounds; ++round) {
    std::vector<Wanted> wanted;
    std::vector<std::string> prompts;
    for (size_t i = 0; i < made.items.size(); ++i) {
      const Proposition& item = made.items[i];
      if (item.paraphrases.size() < kParaphrases) {
        wanted.push_back({i, std::nullopt});
        prompts.push_back(paraphrase_prompt(item, kParaphrases));
      }
      for (const QuestionKind kind : kQuestionKinds) {
        const size_t there = count_of(item, kind);
        if (there >= 2 * options.per_kind) continue;  // twice what is wanted, since keys must balance
        wanted.push_back({i, kind});
        prompts.push_back(question_prompt(item, kind, 2 * options.per_kind - there));
      }
    }
    if (prompts.empty()) break;
    const std::vector<std::string> texts = TRY(write(prompts));
    if (texts.size() != prompts.size())
      return error("[draft] {} texts came for {} prompts.", texts.size(), prompts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      Proposition& item = made.items[wanted[i].item];
      if (!wanted[i].kind) {
        take_paraphrases(item, texts[i]);
        continue;
      }
      for (SubQuestion& question : parse_questions(texts[i], *wanted[i].kind, made.dropped)) {
        const std::string why = refusal(item, question);
        if (why.empty())
          item.questions.push_back(std::move(question));
        else
          ++made.dropped[why];
      }
    }
  }
  size_t turn = 0;
  for (Proposition& item : made.items) balance(item, turn, made.dropped);
  judge(made);
  return made;
}

}  // namespace candor::belief
