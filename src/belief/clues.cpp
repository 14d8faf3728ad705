#include "belief/clues.h"

#include <algorithm>

#include "base/check.h"
#include "belief/check.h"

namespace candor::belief {
namespace {

enum class Form { kYesNo, kOptions };

SubQuestion asked(const Clue& clue, Form form, size_t if_true) {
  if (form == Form::kYesNo) return {clue.kind, clue.ask[if_true], {}, if_true};
  return {clue.kind, clue.which, {clue.options[if_true], clue.options[1 - if_true]}, if_true};
}

bool names_nothing(const Forbidden& forbidden, const Clue& clue) {
  for (const Form form : {Form::kYesNo, Form::kOptions})
    for (const size_t if_true : {0, 1})
      if (!forbidden.named_in(asked(clue, form, if_true)).empty()) return false;
  return true;
}

std::vector<size_t> balanced_keys(size_t count, Draws& draws) {
  std::vector<size_t> keys;
  for (size_t i = 0; i < count; ++i) keys.push_back(i % 2);
  draws.shuffle(keys);
  return keys;
}

}  // namespace

std::vector<SubQuestion> draw_questions(const Proposition& item, const std::vector<Clue>& clues, size_t per_kind,
                                        Draws& draws) {
  CHECK(per_kind % 2 == 0);
  struct Drawn {
    const Clue* clue;
    Form form;
  };
  const Forbidden forbidden(item);
  std::vector<Drawn> drawn;
  for (const QuestionKind kind : kQuestionKinds) {
    std::vector<const Clue*> fit;
    for (const Clue& clue : clues)
      if (clue.kind == kind && names_nothing(forbidden, clue)) fit.push_back(&clue);
    if (2 * fit.size() < per_kind) return {};
    draws.shuffle(fit);
    for (size_t i = 0; i < per_kind; ++i) {  // every clue once, then once more in its other form
      const size_t at = i % fit.size(), pass = i / fit.size();
      drawn.push_back({fit[at], (at + pass) % 2 == 0 ? Form::kYesNo : Form::kOptions});
    }
  }
  const auto yes_no = static_cast<size_t>(
      std::count_if(drawn.begin(), drawn.end(), [](const Drawn& one) { return one.form == Form::kYesNo; }));
  std::array keys = {balanced_keys(yes_no, draws), balanced_keys(drawn.size() - yes_no, draws)};
  std::vector<SubQuestion> questions;
  for (const Drawn& one : drawn) {
    std::vector<size_t>& left = keys[static_cast<size_t>(one.form)];
    questions.push_back(asked(*one.clue, one.form, left.back()));
    left.pop_back();
  }
  return questions;
}

std::vector<Clue> conjunction_clues(const std::vector<Clue>& a, const std::vector<Clue>& b) {
  std::vector<Clue> both;
  for (const QuestionKind kind : kQuestionKinds) {
    std::vector<const Clue*> of_b;
    for (const Clue& clue : b)
      if (clue.kind == kind) of_b.push_back(&clue);
    size_t next = 0;
    for (const Clue& clue : a) {
      if (clue.kind != kind || next == of_b.size()) continue;
      const Clue& other = *of_b[next++];
      Clue made{kind, {}, {}, "", {"both", "one or none"}};
      made.clause[0] = fmt::format("{}, and {}", clue.clause[0], other.clause[0]);
      made.clause[1] = fmt::format("{}, or {}", clue.clause[1], other.clause[1]);
      made.ask[0] = fmt::format("Are both of these so: {}?", made.clause[0]);
      made.ask[1] = fmt::format("Is one of these so, or both: {}?", made.clause[1]);
      made.which = fmt::format("How much of this is so: {}?", made.clause[0]);
      both.push_back(std::move(made));
    }
  }
  return both;
}

std::string filled(std::string_view pattern, const std::vector<std::pair<std::string_view, std::string_view>>& values) {
  std::string text;
  for (size_t at = 0; at < pattern.size();) {
    const auto value = std::find_if(values.begin(), values.end(),
                                    [&](const auto& one) { return pattern.substr(at).starts_with(one.first); });
    if (value == values.end()) {
      text += pattern[at++];
    } else {
      text += value->second;
      at += value->first.size();
    }
  }
  return text;
}

std::string capitalised(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

std::string uncapitalised(std::string text) {
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] - 'A' + 'a');
  return text;
}

std::string without_stop(std::string text) {
  while (!text.empty() && text.back() == '.') text.pop_back();
  return text;
}

}  // namespace candor::belief
