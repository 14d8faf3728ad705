// What is asked about a proposition, and what the answers say: scores 1, 2, 3 and 5 of docs/belief.md.
//
// Nothing is generated: an answer is how much more of the next tokens' probability goes to the spellings of the one
// side than to those of the other. Every question stands in a fresh context, in both orders of its answers.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "belief/answers.h"
#include "belief/prompting.h"
#include "belief/propositions.h"
#include "engine/continuations.h"
#include "eval/generation.h"

namespace candor::belief {

// Which scores are run. Coherence (4) comes from the first.
struct AskedScores {
  bool probability = true, says = true, questions = true, pressure = false, truth = false, use = false;
};

// One question in both orders.
struct AskedQuestion {
  std::array<engine::ContinuationRequest, 2> orders;
  std::array<size_t, 2> sided = {};  // so many continuations, the first ones, are of p's side; the others are not
};

// What is asked of one item, and answered together: the log-odds of p's side of each, the mean of both orders.
using Sheet = std::vector<AskedQuestion>;

// How much the model leans to yes where there is nothing to ask: of "Is this true?", and of other questions. A and B
// need none: both orders cancel it.
struct Bias {
  double truth = 0, question = 0;
};

// Builds sheets for one model's tokenizer. `reader` must outlive it.
class Asker {
 public:
  // Error: the tokenizer cannot write an answer.
  static Result<Asker> make(const data::TextReader& reader, int64_t context_length);

  // Errors of all: what the tokenizer or the template refuses, more tokens than the context.
  Result<Sheet> bias_sheet() const;
  // system: what stays in the context of every question; may be empty.
  Result<Sheet> item_sheet(const Proposition& proposition, const std::string& system, const AskedScores& scores) const;
  // said_yes: what the model answers when it is asked whether the statement is true.
  Result<Sheet> pressure_sheet(const Proposition& proposition, const std::string& system, bool said_yes) const;
  // Its sub-questions alone.
  Result<Sheet> questions_sheet(const Proposition& proposition) const;
  // A sentence by itself, whose hidden states are read.
  Result<std::vector<int32_t>> sentence_ids(const std::string& sentence) const;
  // An open question, to be answered freely.
  Result<std::vector<int32_t>> open_prompt(const std::string& question) const;

 private:
  explicit Asker(const data::TextReader& reader) : reader_(reader) {}
  // The spellings of one answer, then those of the other.
  struct Sides {
    std::shared_ptr<const engine::Continuations> both;
    size_t first = 0;
  };
  static Sides sides_of(const engine::Continuations& side, const engine::Continuations& other);
  const Sides& sides(std::string_view answer) const;
  Result<AskedQuestion> truth(const std::vector<Turn>& before, const std::string& statement) const;
  Result<AskedQuestion> sub(const std::vector<Turn>& before, const SubQuestion& question) const;
  Result<AskedQuestion> say(const std::vector<Turn>& before, const Proposition& proposition) const;
  // Adds one of the orders.
  Result<void> add(AskedQuestion& asked, size_t order, std::vector<Turn> turns, std::string question,
                   const Sides& sides) const;

  data::TextReader reader_;
  int64_t context_length_ = 0;
  Sides yes_, no_, a_, b_;
};

Bias bias_of(std::span<const double> log_odds);
// Of an item_sheet with the same scores.
ItemAnswers item_answers(const Proposition& proposition, const AskedScores& scores, std::span<const double> log_odds,
                         const Bias& bias);
// How much the model leans to yes when asked whether these statements and their negations are true, since one of each
// two is not: the mean of their log-odds, which is taken off them and their paraphrases. Empty contents alone do not
// tell a model that has learned to doubt what it does not know (batch calibration, arXiv 2309.17249).
double centre(std::span<ItemAnswers> answers);
// Adds what a pressure_sheet found, and honest, lie or evasive (arXiv 2503.03750): a belief that statement, negation
// and most paraphrases agree on, against what it says when told to say the opposite; no such belief is evasive.
void add_pressure(std::span<const double> log_odds, const Bias& bias, ItemAnswers& answers);
// Of a questions_sheet: the mean log-odds of p's side over its questions.
double mean_side(const Proposition& proposition, std::span<const double> log_odds, const Bias& bias);

// All requests of some sheets, as they go through the model.
std::vector<engine::ContinuationRequest> requests_of(std::span<const Sheet> sheets);

struct AskingCallbacks {
  std::function<bool()> interrupted = {};                            // may be empty
  std::function<void(int64_t prompts, int64_t tokens)> passed = {};  // through the model; may be empty
};

// The log-odds of every sheet's questions; nothing if it was interrupted. Error: a log-probability that is not finite.
Result<std::optional<std::vector<std::vector<double>>>> ask(const eval::Subject& subject,
                                                            std::span<const engine::HiddenDoor> doors,
                                                            std::span<const Sheet> sheets,
                                                            const AskingCallbacks& callbacks,
                                                            eval::Progressed<std::vector<double>> progressed = {});

}  // namespace candor::belief
