// The validator of a proposition file: which row breaks which rule (docs/propositions.md has the rules and why).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "belief/propositions.h"

namespace candor::belief {

struct PropositionFault {
  int64_t row = 0;   // 0: the file as a whole
  std::string rule;  // its short name: "leak", "balance", …
  std::string what;  // what was found and what to do
};

// Every fault of every row, in the order of the rows. Empty: the file may be used in an audit.
std::vector<PropositionFault> check_propositions(const Propositions& propositions);

// What no sub-question of a proposition may say: its answer, statement, negation and paraphrases.
class Forbidden {
 public:
  explicit Forbidden(const Proposition& item);

  // Which of it `question` says, as words for a message ("the answer, \"Russia\""); empty: nothing. It may not stand in
  // the options either: the word that the statement brings along would pick one of them.
  std::string named_in(const SubQuestion& question) const;

 private:
  struct Phrase {
    std::string name, text;
    std::vector<std::string> words;
  };
  std::vector<Phrase> phrases_;
};

// What is worth knowing and no fault: the interval that fewer than 400 propositions allow.
std::vector<std::string> notes_on(const Propositions& propositions);

}  // namespace candor::belief
