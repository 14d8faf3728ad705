// Rewards: named functions from completions to numbers. They never train and never load a model here.
//
// A reward may abstain on a row (nullopt): the row is left out of that reward's statistics. A failure (an Error, a NaN,
// too few scores) stops the run; it never becomes 0.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "data/rows.h"
#include "text/chat_template.h"

namespace candor::rewards {

struct Completion {
  const text::Json* row = nullptr;           // the prompt's columns
  std::string_view text;                     // decoded without special tokens
  std::span<const int32_t> ids;              // with the stop token, if it came
  bool finished = true;                      // false: cut off at max_completion_length
  std::span<const int32_t> prompt_ids = {};  // what the model saw; one place in memory for all that share a prompt
  bool screening = false;                    // it was not sampled: a key of screening.h, or a row's own answer
};

using Scores = std::vector<std::optional<double>>;  // one for each completion; nullopt = abstains

struct Reward {
  std::string name;
  std::function<Result<Scores>(std::span<const Completion>)> score;
  // What is wrong with a row of the dataset for this reward, told before the run starts; may be empty.
  std::function<Result<void>(const text::Json& row)> check_row;
};

// What cosine_scaled gives at its two ends: a wrong completion from min_wrong (the shortest) to max_wrong (the
// longest), a right one from max_correct (the shortest) to min_correct.
struct CosineValues {
  double min_wrong = -1.0, max_wrong = -0.5, min_correct = 0.5, max_correct = 1.0;
};

// One struct for the parameters of all; a reward reads those that its line names.
struct RewardParams {
  std::string extraction = "last_number";  // accuracy: answers.h
  std::string pattern;                     // format: the regular expression
  double length_target = 0;                // length: tokens wanted, > 0
  bool longer = false;                     // length: pays tokens / max_completion_length instead (a drill)
  int64_t max_completion_length = 0;       // length with `longer`: tokens, > 0
  int64_t overlong_max = 0;                // overlong: tokens from which the punishment is whole
  int64_t overlong_cache = 0;              // overlong: tokens before that in which it grows, 1 to overlong_max
  int64_t repetition_ngram = 3;            // repetition: n, >= 1
  double repetition_max_penalty = -1;      // repetition: <= 0
  int64_t cosine_max_len = 0;              // cosine_scaled: tokens at which it ends, >= 1
  CosineValues cosine_values;              // cosine_scaled
  double reasoned_without_steps = 0;       // reasoned_accuracy: 0 to 1
  double length_penalty_alpha = 0.1;       // concise_accuracy: 0 to 1, less than 1
};

// n is the number of completion tokens, the stop token included.
//   accuracy       1 if the answer extracted from the text is the row's `answer` (or `solution`), else 0; abstains
//                  where that is null
//   concise_accuracy   accuracy·(1 - alpha·σ(z)), z the length in deviations from the mean over the right completions
//                  of the same prompt (length_penalty.h, 2502.04463); a wrong one gets 0 whatever its length
//   reasoned_accuracy  1 if the answer is right, no equation of the text is false and the answer follows from the last
//                  one (arithmetic.h, derivation_of: not kNone), else 0; a right answer without any equation gets
//                  reasoned_without_steps; abstains where accuracy does
//   arithmetic_steps   share of the text's equations that hold, repeated ones counted once; abstains without any
//   format         1 if the whole completion matches `pattern`, else 0
//   think_format   1 if the text begins with <think>, holds </think> and no second <think>, else 0 (TRL's)
//   cosine_scaled  accuracy scaled by length (2502.03373, TRL's):
//                  end + (start - end)(1 + cos(π·min(n / max_len, 1))) / 2
//                  between the two CosineValues of a right or a wrong completion; abstains where accuracy does
//   length         -|n - target| / target, or n / max_completion_length with `longer`
//   overlong       0 up to overlong_max - cache, (max - cache - n) / cache up to max, then -1 (DAPO's soft punishment,
//                  2503.14476)
//   repetition     max_penalty · (1 - distinct / total) over the n-grams of token ids; 0 below one n-gram
// Programs and endpoints have makers of their own (reward_program.h, reward_endpoint.h).
// Errors: an unknown name (with the nearest), a parameter that is missing or out of range.
Result<Reward> make_reward(std::string_view name, const RewardParams& params);

const std::vector<std::string>& reward_names();

// Asks every reward about every row, so that a missing column stops the run before it starts. Error: file, row, reward.
Result<void> check_rows(std::span<const Reward> rewards, const data::Rows& rows);

// [N] sums of what score_all gives, over the rewards that did not abstain; NaN where all did.
std::vector<double> total_scores(std::span<const double> scores, size_t rewards);

// [N,K] row-major, NaN where a reward abstained. Error: a reward failed, gave another number of scores than there are
// completions, or a score that is not finite.
Result<std::vector<double>> score_all(std::span<const Reward> rewards, std::span<const Completion> completions);

}  // namespace candor::rewards
