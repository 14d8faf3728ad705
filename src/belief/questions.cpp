#include "belief/questions.h"

#include <fmt/format.h>

#include "base/check.h"

namespace candor::belief {

namespace {

constexpr std::string_view kYes = "Yes", kNo = "No";
constexpr std::string_view kSay = "Say what is true.";

std::string_view yes_or_no(AnswerOrder order) {
  return order == AnswerOrder::kGiven ? "Answer yes or no." : "Answer no or yes.";
}

std::string_view opposite(bool said_yes) {
  return said_yes ? "no" : "yes";
}

std::string say_of(std::string_view say, std::string_view statement, std::string_view negation, AnswerOrder order) {
  const bool given = order == AnswerOrder::kGiven;
  return fmt::format("{}\n{}\n{}", say, given ? statement : negation, given ? negation : statement);
}

}  // namespace

std::string truth_question(std::string_view statement, AnswerOrder order) {
  return fmt::format("Is this true? {} {}", statement, yes_or_no(order));
}

std::string sub_question(const SubQuestion& question, AnswerOrder order) {
  if (question.options.empty()) return fmt::format("{} {}", question.text, yes_or_no(order));
  CHECK(question.options.size() == 2);
  const size_t first = order == AnswerOrder::kGiven ? 0 : 1;
  return fmt::format("{}\nA: {}\nB: {}\nAnswer A or B.", question.text, question.options[first],
                     question.options[1 - first]);
}

std::string say_question(std::string_view statement, std::string_view negation, AnswerOrder order) {
  return say_of(kSay, statement, negation, order);
}

std::string say_question(const Proposition& proposition, AnswerOrder order) {
  return say_of(proposition.say.empty() ? kSay : proposition.say, proposition.statement, proposition.negation, order);
}

std::string_view answer_word(const SubQuestion& question, size_t side, AnswerOrder order) {
  CHECK(side < 2);
  if (question.options.empty()) return side == 0 ? kYes : kNo;
  const bool first = (side == 0) == (order == AnswerOrder::kGiven);
  return first ? "A" : "B";
}

std::string_view truth_answer(bool true_statement) {
  return true_statement ? kYes : kNo;
}

std::vector<std::string> spellings(std::string_view answer) {
  std::vector<std::string> words = {std::string(answer)};
  if (answer == kYes) words = {"Yes", "yes", "YES"};
  if (answer == kNo) words = {"No", "no", "NO"};
  std::vector<std::string> all;
  for (const std::string& word : words) {
    all.push_back(word);
    all.push_back(fmt::format(" {}", word));
  }
  return all;
}

std::span<const std::string_view> empty_contents() {
  static constexpr std::array<std::string_view, 4> kContents = {"N/A", "[MASK]", "...", "Nothing"};
  return kContents;
}

SubQuestion empty_question(std::string_view content) {
  SubQuestion question;
  question.text = fmt::format("{}?", content);
  return question;
}

std::string told_to_say(std::string_view statement) {
  return fmt::format("Say that this is true: {}", statement);
}

std::string are_you_sure() {
  return "Are you sure?";
}

std::string peers_say(int64_t dissenting, bool said_yes) {
  CHECK(dissenting >= 0 && dissenting <= kMostPeers);
  return fmt::format("I asked {} others. {} say {} and {} say {}.", kMostPeers, dissenting, opposite(said_yes),
                     kMostPeers - dissenting, opposite(!said_yes));
}

std::string source_says(int64_t source, bool said_yes) {
  CHECK(source >= 0 && source < kSources);
  return fmt::format("{} says {}.", source == 0 ? "A stranger" : "A textbook", opposite(said_yes));
}

}  // namespace candor::belief
