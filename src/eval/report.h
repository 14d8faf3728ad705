// What a task says about a model: one correct flag per item, their share with an interval, and two models compared on
// the same items. Generating is the engine's; this takes the completions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "eval/tasks.h"
#include "statistics/paired.h"
#include "statistics/proportions.h"
#include "text/chat_template.h"

namespace candor::eval {

// One completion of one item, as the engine gives it.
struct Answered {
  std::string text;      // decoded without special tokens
  int64_t tokens = 0;    // with the stop token, if it came
  bool finished = true;  // false: cut off at max_completion_length
};

struct ItemResult {
  bool correct = false;
  std::string gold;
  std::optional<std::string> answer;  // as extracted; none where the completion held none
  Answered completion;
};

struct EvalResult {
  std::string task;               // the dataset's name
  std::vector<ItemResult> items;  // in the task's order
  int64_t correct = 0;
  double accuracy = 0;            // correct / items
  statistics::Interval interval;  // Clopper-Pearson, 95%
  double mean_tokens = 0;
  int64_t unfinished = 0;
};

// `completions` are those of the task's rows, in order, one each. A completion that was cut off is graded like any
// other. Errors: another number of completions, an item whose answer nobody knows, a regular expression that gave up.
Result<EvalResult> grade(const Task& task, std::span<const Answered> completions);

struct Comparison {
  statistics::PairedCounts counts;
  double difference = 0;          // accuracy after - before
  statistics::Interval interval;  // of the difference, paired, 95% (Newcombe's method 10)
  double p_value = 1;             // McNemar's exact test, two-sided
};

// Error: the two results are not of the same items.
Result<Comparison> compare(const EvalResult& before, const EvalResult& after);

// For summary.json and --json: accuracy, correct, items, interval [low, high], mean_tokens, unfinished; and difference,
// interval, p_value, both, only_before, only_after, neither.
text::Json to_json(const EvalResult& result);
text::Json to_json(const Comparison& comparison);

// "70 of 100 (70%, 95% interval 60 to 79%)", and "30% to 70%, +40 points (29 to 50), p = 2.3e-10 by McNemar's exact
// test".
std::string in_words(const EvalResult& result);
std::string in_words(const Comparison& comparison);

}  // namespace candor::eval
