// Scored completions of prompts as rows to train on: preferences (DPO, reward models), the best of each prompt (SFT,
// best-of-n distillation), or completions with a label (KTO). Every completion has a fate, told in words; none is lost
// in silence.
//
// Completions of equal prompts belong together, wherever they stand. One that was cut off is never chosen, labelled
// good or the best unless the options say so: training ends it with a stop token that the model did not write.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/row_account.h"
#include "data/rows.h"

namespace candor::data {

struct Rollout {
  text::Json prompt;                   // text, or a conversation
  std::string completion;              // a message of the assistant where the prompt is a conversation
  std::optional<double> reward = {};   // none: nobody could say
  std::optional<double> logprob = {};  // of the whole completion, nats
  bool finished = true;                // false: cut off
  int64_t row = 0;                     // in the file
};

enum class Pairing {
  kBestWorst,  // one pair for each prompt: its best and its worst completion
  kAll,        // every two completions that are far enough apart
  kHard        // its best and, of those far enough below it, the one with the largest log-probability
};

struct PairOptions {
  Pairing pairing = Pairing::kBestWorst;
  double margin = 0;         // the rewards of a pair differ by this at least, and by more than 0
  bool cut_off_too = false;  // completions that were cut off may be chosen, the best, or labelled good
  double least = 0;          // best_of: the best must have this reward; unpaired: labelled true from it on
};

// rows: `prompt`, `chosen`, `rejected` with `score_chosen` and `score_rejected`; `prompt`, `completion` with `score`;
// `prompt`, `completion`, `label` with `score`. fates: of each rollout, in order: "chosen", "dropped: …", ….
struct Paired {
  Rows rows;
  std::vector<std::string> fates;
};

// Of equal rewards the best is one that was not cut off, and then the earlier. Of equal completions of one prompt only
// the first is looked at.
// Error: Pairing::kHard and a rollout without log-probability (its row).
Result<Paired> preference_pairs(const std::vector<Rollout>& rollouts, const PairOptions& options);
Paired best_of(const std::vector<Rollout>& rollouts, const PairOptions& options);
Paired labelled(const std::vector<Rollout>& rollouts, const PairOptions& options);

// The same fate counted over all rollouts, in order of first appearance; the rows add up to their number.
std::vector<RowFate> count_fates(const std::vector<Rollout>& rollouts, const std::vector<std::string>& fates);

}  // namespace candor::data
