// Sub-questions drafted by a model, with the validator as the judge: what breaks a rule is dropped and counted.
//
// The model only proposes. Which answer each side gives is the model's word too, so a drafted file wants reading before
// an audit rests on it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "belief/propositions.h"

namespace candor::belief {

// One text for each prompt, in their order. Error: it was interrupted, or the model cannot.
using Writer = std::function<Result<std::vector<std::string>>(std::span<const std::string> prompts)>;

struct DraftOptions {
  size_t per_kind = 2;  // sub-questions wanted of each kind
  int64_t rounds = 3;   // how often it is asked again for what is lacking
};

struct Drafted {
  std::vector<Proposition> items;          // those that pass the validator, numbered anew
  std::map<std::string, int64_t> dropped;  // questions, by why
  int64_t incomplete = 0;                  // propositions that did not come to pass
};

// Rows of statements, with whatever other columns of a proposition file they have: a missing id, topic, negation and
// answer are filled in. Errors as of parse_propositions.
Result<Propositions> statements_to_draft(const data::Rows& rows);

std::string question_prompt(const Proposition& item, QuestionKind kind, size_t count);
std::string paraphrase_prompt(const Proposition& item, size_t count);

// Lines of the form that question_prompt asks for; other lines are passed over, and lines that begin like one and are
// none are counted in `dropped`.
std::vector<SubQuestion> parse_questions(const std::string& text, QuestionKind kind,
                                         std::map<std::string, int64_t>& dropped);

// Error: the writer's, or another number of texts than of prompts.
Result<Drafted> draft(const Propositions& statements, const Writer& write, const DraftOptions& options);

}  // namespace candor::belief
