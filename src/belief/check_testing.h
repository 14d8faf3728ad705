// A proposition that the validator finds nothing against, for tests to spoil.
#pragma once

#include <fmt/format.h>

#include <string>

#include "belief/propositions.h"

namespace candor::testing {

// Two questions of each kind: four yes/no and four with options, each half and half. Every text holds `name`.
inline belief::Proposition good_proposition(const std::string& name, int64_t number) {
  belief::Proposition item;
  item.id = "id-" + name;
  item.topic = "cities";
  item.statement = fmt::format("The city of {} is in Russia.", name);
  item.negation = fmt::format("The city of {} is not in Russia.", name);
  item.paraphrases = {fmt::format("{} is a city of Russia.", name), fmt::format("Russia has a city called {}.", name),
                      fmt::format("One of the cities of Russia is {}.", name)};
  item.answer = "Russia";
  for (size_t kind = 0; kind < belief::kQuestionKinds.size(); ++kind) {
    const size_t key = kind % 2;
    item.questions.push_back(
        {belief::kQuestionKinds[kind], fmt::format("Would rule {} hold in {}?", kind, name), {}, key});
    item.questions.push_back({belief::kQuestionKinds[kind],
                              fmt::format("What is thing {} in {}?", kind, name),
                              {"a rouble", "a rand"},
                              key});
  }
  item.label = true;
  item.number = number;
  return item;
}

inline belief::Propositions good_file() {
  return {"rows.jsonl", {good_proposition("Tver", 1), good_proposition("Omsk", 2), good_proposition("Perm", 3)}};
}

}  // namespace candor::testing
