#include "belief/propositions.h"

#include <algorithm>

#include "base/atomic_file.h"
#include "base/nearest_name.h"
#include "data/write_rows.h"

namespace candor::belief {
namespace {

using text::Json;

const std::vector<std::string> kColumns = {"id",     "topic",      "statement", "negation", "paraphrases",
                                           "answer", "say",        "label",     "implies",  "all_of",
                                           "recall", "fabricated", "questions"};
const std::vector<std::string> kQuestionColumns = {"kind", "question", "options", "if_true", "if_false"};
const std::vector<std::string> kRecallColumns = {"question", "answers"};

// The validator takes every text against every other of its row.
constexpr size_t kLongestText = 2000;  // bytes
constexpr size_t kMostTexts = 50;      // of a list
constexpr size_t kMostQuestions = 200;

Result<void> only_known(const Json& object, const std::vector<std::string>& known, std::string_view of) {
  for (const auto& [name, value] : object.items())
    if (std::find(known.begin(), known.end(), name) == known.end())
      return error("{} \"{}\" is unknown.{}", of, name, did_you_mean(name, known));
  return {};
}

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

Result<void> check_text(const std::string& text, const char* name) {
  if (text.find('\0') != std::string::npos) return error("\"{}\" holds a NUL character.", name);
  if (text.size() > kLongestText)
    return error("\"{}\" is {} bytes long. At most {} are read.", name, text.size(), kLongestText);
  return {};
}

Result<std::string> text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return error("there is no \"{}\".", name);
  if (!found->is_string()) return error("\"{}\" is a {}. Expected text.", name, found->type_name());
  auto text = found->get<std::string>();
  if (is_blank(text)) return error("\"{}\" is empty.", name);
  TRY(check_text(text, name));
  return text;
}

// A list of texts, at most so many; empty where the column is absent.
Result<std::vector<std::string>> texts_of(const Json& object, const char* name) {
  std::vector<std::string> texts;
  const auto found = object.find(name);
  if (found == object.end()) return texts;
  if (!found->is_array()) return error("\"{}\" is a {}. Expected a list of texts.", name, found->type_name());
  if (found->size() > kMostTexts)
    return error("\"{}\" holds {} texts. At most {} are read.", name, found->size(), kMostTexts);
  for (const Json& one : *found) {
    if (!one.is_string() || is_blank(one.get<std::string>()))
      return error("\"{}\" holds {}. Expected texts that are not empty.", name,
                   one.is_string() ? "an empty text" : fmt::format("a {}", one.type_name()));
    TRY(check_text(one.get_ref<const std::string&>(), name));
    texts.push_back(one.get<std::string>());
  }
  return texts;
}

Result<std::optional<bool>> flag_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return std::optional<bool>();
  if (!found->is_boolean()) return error("\"{}\" is a {}. Expected true or false.", name, found->type_name());
  return std::optional(found->get<bool>());
}

Result<QuestionKind> kind_of(const std::string& name) {
  std::vector<std::string> names;
  for (const QuestionKind kind : kQuestionKinds) {
    if (name == name_of(kind)) return kind;
    names.emplace_back(name_of(kind));
  }
  return error("the kind \"{}\" is none of {}.{}", name, fmt::join(names, ", "), did_you_mean(name, names));
}

// Which of the two answers a side gives: 0 for yes or A, 1 for no or B.
Result<size_t> side_of(const Json& object, const char* name, bool has_options) {
  const std::string answer = TRY(text_of(object, name));
  const char* const first = has_options ? "A" : "yes";
  const char* const second = has_options ? "B" : "no";
  if (answer == first) return size_t{0};
  if (answer == second) return size_t{1};
  return error("\"{}\" is \"{}\". Expected \"{}\" or \"{}\".", name, answer, first, second);
}

Result<SubQuestion> question_of(const Json& object) {
  if (!object.is_object()) return error("it is a {}. Expected an object.", object.type_name());
  TRY(only_known(object, kQuestionColumns, "the member"));
  SubQuestion question;
  question.kind = TRY(kind_of(TRY(text_of(object, "kind"))));
  question.text = TRY(text_of(object, "question"));
  question.options = TRY(texts_of(object, "options"));
  if (object.contains("options") && question.options.size() != 2)
    return error("\"options\" holds {} texts. Expected two, or no \"options\" for yes and no.",
                 question.options.size());
  question.if_true = TRY(side_of(object, "if_true", !question.options.empty()));
  if (TRY(side_of(object, "if_false", !question.options.empty())) == question.if_true)
    return error("\"if_true\" and \"if_false\" are the same: its answer says nothing about the statement. Drop it.");
  return question;
}

Result<Recall> recall_of(const Json& object) {
  if (!object.is_object()) return error("\"recall\" is a {}. Expected an object.", object.type_name());
  TRY(only_known(object, kRecallColumns, "in \"recall\""));
  Recall recall {
    TRY(text_of(object, "question"))
    , TRY(texts_of(object, "answers"))
  };
  if (recall.answers.empty()) return error("\"recall\" has no \"answers\". Expected a list of texts.");
  return recall;
}

Result<Proposition> proposition_of(const Json& columns) {
  TRY(only_known(columns, kColumns, "the column"));
  Proposition made;
  made.id = TRY(text_of(columns, "id"));
  made.topic = TRY(text_of(columns, "topic"));
  made.statement = TRY(text_of(columns, "statement"));
  made.negation = TRY(text_of(columns, "negation"));
  made.paraphrases = TRY(texts_of(columns, "paraphrases"));
  made.answer = TRY(text_of(columns, "answer"));
  if (columns.contains("say")) made.say = TRY(text_of(columns, "say"));
  made.label = TRY(flag_of(columns, "label"));
  made.implies = TRY(texts_of(columns, "implies"));
  made.all_of = TRY(texts_of(columns, "all_of"));
  made.fabricated = TRY(flag_of(columns, "fabricated"))
  .value_or(false);
  if (columns.contains("recall") && !columns["recall"].is_null()) made.recall = TRY(recall_of(columns["recall"]));
  const auto questions = columns.find("questions");
  if (questions == columns.end()) return made;
  if (!questions->is_array()) return error("\"questions\" is a {}. Expected a list.", questions->type_name());
  if (questions->size() > kMostQuestions)
    return error("\"questions\" holds {}. At most {} are read.", questions->size(), kMostQuestions);
  for (const Json& one : *questions) {
    auto question = question_of(one);
    if (!question) return error("question {}: {}", made.questions.size() + 1, question.error().message);
    made.questions.push_back(*std::move(question));
  }
  return made;
}

Json to_json(const SubQuestion& question) {
  const bool has_options = !question.options.empty();
  const std::array<const char*, 2> answers = has_options ? std::array{"A", "B"} : std::array{"yes", "no"};
  Json json = {{"kind", std::string(name_of(question.kind))}, {"question", question.text}};
  if (has_options) json["options"] = question.options;
  json["if_true"] = answers[question.if_true];
  json["if_false"] = answers[1 - question.if_true];
  return json;
}

}  // namespace

std::string_view name_of(QuestionKind kind) {
  constexpr std::array<std::string_view, 4> kNames = {"prerequisite", "consequence", "contradiction", "use"};
  return kNames[static_cast<size_t>(kind)];
}

Result<Propositions> parse_propositions(const data::Rows& rows) {
  Propositions propositions{rows.name, {}};
  for (const data::Row& row : rows.rows) {
    auto made = proposition_of(row.columns);
    if (!made) return error("[propositions] {}: {}", data::place(rows.name, row), made.error().message);
    made->number = row.number;
    propositions.items.push_back(*std::move(made));
  }
  return propositions;
}

Result<Propositions> read_propositions(const std::filesystem::path& path) {
  return parse_propositions(TRY(data::read_rows(path)));
}

Json to_json(const Proposition& proposition) {
  Json json = {{"id", proposition.id},
               {"topic", proposition.topic},
               {"statement", proposition.statement},
               {"negation", proposition.negation},
               {"paraphrases", proposition.paraphrases},
               {"answer", proposition.answer}};
  if (!proposition.say.empty()) json["say"] = proposition.say;
  if (proposition.label) json["label"] = *proposition.label;
  if (!proposition.implies.empty()) json["implies"] = proposition.implies;
  if (!proposition.all_of.empty()) json["all_of"] = proposition.all_of;
  if (proposition.recall)
    json["recall"] = {{"question", proposition.recall->question}, {"answers", proposition.recall->answers}};
  if (proposition.fabricated) json["fabricated"] = true;
  json["questions"] = Json::array();
  for (const SubQuestion& question : proposition.questions) json["questions"].push_back(to_json(question));
  return json;
}

Result<void> write_propositions(std::span<const Proposition> propositions, const std::filesystem::path& path) {
  return write_file_atomically(path, [&](OutputFile& out) -> Result<void> {
    for (const Proposition& proposition : propositions) TRY(out.write(data::json_line(to_json(proposition)) + "\n"));
    return {};
  });
}

}  // namespace candor::belief
