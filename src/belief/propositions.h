// Propositions with the sub-questions that betray whether they are held: the rows of a proposition file
// (docs/propositions.md).
//
// Reading is the format only: what is here can be asked. Whether the questions are worth asking (balanced keys, no
// answer given away, at least eight of four kinds) is the validator's to say, of the whole file at once (check.h).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "data/rows.h"

namespace candor::belief {

enum class QuestionKind { kPrerequisite, kConsequence, kContradiction, kUse };
inline constexpr std::array kQuestionKinds{QuestionKind::kPrerequisite, QuestionKind::kConsequence,
                                           QuestionKind::kContradiction, QuestionKind::kUse};
// "prerequisite", "consequence", "contradiction", "use".
std::string_view name_of(QuestionKind kind);

struct SubQuestion {
  QuestionKind kind = QuestionKind::kPrerequisite;
  std::string text;                  // ends with "?"; without options and without instructions
  std::vector<std::string> options;  // empty: answered yes or no; else exactly two: A and B
  size_t if_true = 0;                // what p's side answers: 0 = yes or A, 1 = no or B; not-p's side answers the other
};

// Free recall: the instrument by which positive controls are chosen.
struct Recall {
  std::string question;              // open: "In which country is Krasnodar?"
  std::vector<std::string> answers;  // any of them, compared after normalisation
};

struct Proposition {
  std::string id, topic, statement, negation;
  std::vector<std::string> paraphrases;  // the validator wants at least 3
  std::string answer;                    // the words of the statement that its sub-questions may not say ("Russia")
  std::string say;                     // how it is asked for, before statement and negation; empty: "Say what is true."
  std::vector<SubQuestion> questions;  // the validator wants at least 8, of all four kinds
  std::optional<bool> label;           // whether it is true in the world, where that is known
  std::vector<std::string> implies;    // ids of propositions that follow from it
  std::vector<std::string> all_of;     // two ids: it is their conjunction; else empty
  std::optional<Recall> recall;
  bool fabricated = false;  // about something that does not exist: nobody can hold it
  int64_t number = 0;       // its row in the file, from 1
};

struct Propositions {
  std::string name;  // of the file, for messages
  std::vector<Proposition> items;
};

// The files of data::read_rows. Errors name file, row and column: a column that is missing, unknown or of another type,
// an empty text, a question with other than two options, an "if_true" that is no answer, "if_false" equal to "if_true".
Result<Propositions> read_propositions(const std::filesystem::path& path);
Result<Propositions> parse_propositions(const data::Rows& rows);

// One row of the file; what parse_propositions reads back.
text::Json to_json(const Proposition& proposition);

// JSON lines, whole or not at all.
Result<void> write_propositions(std::span<const Proposition> propositions, const std::filesystem::path& path);

}  // namespace candor::belief
