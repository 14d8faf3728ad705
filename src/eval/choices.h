// Multiple choice by likelihood: the model's answer is the choice to which it gives the largest log-probability behind
// the prompt. Nothing is generated.
//
// As in lm-evaluation-harness (0.4): `acc` takes the choice with the largest sum over its tokens, `acc_norm` the one
// with the largest sum per character of its text (Unicode characters, without the space before it). `acc_per_token`,
// the largest sum per token, is ours. Of equal values the first one wins.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/text_reader.h"
#include "eval/tasks.h"
#include "statistics/proportions.h"

namespace candor::eval {

struct ChoiceItem {
  std::vector<std::string> choices;  // at least two, none empty
  size_t right = 0;
};

// Whether the first row has `choices`, or `statement` and `label`.
bool offers_choices(const data::Rows& rows);

// Rows of `prompt` (or `question`), `choices` and an answer. `choices`: a list of texts, or ARC's object of `text` and
// `label`. The answer is `answer`, else `answerKey`, else `label`: the choice's number from 0, its label, its text, or
// its letter (A is the first). Or rows of `statement` and `label` (1 or true, 0 or false), which become the question
// whether it is true with the choices True and False; a list of choices that such a row has stays aside. Errors, with
// file and row.
Result<Task> choice_task(data::Rows rows);

// The choices of one row of such a task. Error: without file and row.
Result<ChoiceItem> choice_item(const text::Json& columns);

// A choice as it stands behind a plain prompt: with a space before it, unless one of the two has white space there.
std::string choice_text(const text::Json& prompt, const std::string& choice);

// Every choice of every item as token ids.
struct ChoiceSet {
  std::vector<ChoiceItem> items;
  std::vector<size_t> begin;              // [items + 1] of each item's choices in the following
  std::vector<std::vector<int32_t>> ids;  // prompt and choice
  std::vector<size_t> first;              // the choice's first token; at least 1
};

// A plain prompt is followed by choice_text; a conversation, rendered with the generation prompt, by the choice as it
// is. The choice begins where the tokens of the prompt alone and of the whole part. Errors, with file and row: what the
// tokenizer or the template refuses, a choice without a token of its own, more tokens than the context (0: no bound).
Result<ChoiceSet> load_choices(const Task& task, const data::TextReader& reader, int64_t context_length);

struct ChosenItem {
  size_t right = 0, by_sum = 0, by_character = 0, by_token = 0;
  std::vector<double> logprobs;  // nats, the sum over each choice's tokens
};

struct Share {
  int64_t correct = 0;
  double value = 0;
  statistics::Interval interval;  // Clopper-Pearson, 95%
};

struct ChoiceResult {
  std::string task;
  std::vector<ChosenItem> items;
  Share acc, acc_norm, acc_per_token;
};

// `logprobs`: one sum for each of set.ids, in their order. Error: one that is not finite.
Result<ChoiceResult> grade_choices(const Task& task, const ChoiceSet& set, std::span<const double> logprobs);

// task, items, and for each of the three {correct, value, interval}.
text::Json to_json(const ChoiceResult& result);

// "812 of 1496 (54%, 95% interval 52 to 57%)"
std::string in_words(const Share& share, size_t items);

}  // namespace candor::eval
