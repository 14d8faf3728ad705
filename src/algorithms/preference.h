// What the losses on pairs share: how a batch of pairs lies in memory, what is measured of a pair, and TRL's metrics.
//
// A pair is two adjacent rows, the chosen completion and then the rejected one, so that any cut between pairs is a
// slice. Losses are means over pairs (and, where a likelihood term is added, over the chosen rows' tokens): the two
// divisors are the step's and are given, so that pairs may be split into calls without changing a bit.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "algorithms/metrics.h"
#include "algorithms/ragged.h"

namespace candor::algorithms {

// Token arrays are [tokens] of `rows`; where the mask is 0 any number may stand there unless a loss says otherwise.
struct PreferenceInputs {
  RaggedRows rows;                                // 2B rows: 2i is chosen, 2i+1 rejected; mask 1 = a completion token
  std::span<const double> logprobs;               // of the policy
  std::span<const double> reference_logprobs;     // empty: none, which counts as 0
  std::span<const double> log_sum_sq_probs = {};  // ln Σ_v p_v² of the policy, nats; for WPO's weights only
  std::span<const double> entropies = {};         // nats; empty: not measured
  std::span<const double> mean_logits = {};       // mean over the vocabulary; empty: not measured
  std::span<const uint8_t> correct = {};          // 1 = the token is the likeliest one; empty: not measured
  // [2B] by which ipo and sigmoid_norm divide a row; empty: its counted tokens. (TRL's DPO counts one more where the
  // prompt is empty; online DPO and XPO divide by 1.)
  std::span<const int64_t> lengths = {};
  int64_t pairs = 0;          // of the step, the mean's divisor; 0: these
  int64_t chosen_tokens = 0;  // counted tokens of the step's chosen rows; 0: those of these rows

  size_t size() const { return rows.size() / 2; }
};

// What is measured of one pair. The losses say what a row's score is: a sum of log-probabilities or their mean.
struct PreferencePair {
  double loss = 0;                                 // with its divisors
  double chosen_logps = 0, rejected_logps = 0;     // the rows' scores under the policy
  double chosen_reward = 0, rejected_reward = 0;   // implicit rewards, β times the score or the log-ratio
  int64_t chosen_tokens = 0, rejected_tokens = 0;  // counted
  double chosen_nll = 0;                           // Σ -ln p over the chosen row's counted tokens
  double entropy = 0;                              // Σ over both rows' counted tokens
  int64_t chosen_correct = 0;                      // counted tokens of the chosen row that are the likeliest
  double chosen_logits = 0, rejected_logits = 0;   // Σ of the mean logits of counted tokens
  std::array<double, 3> parts = {};                // of PreferenceLoss::parts, the pair's shares of the step's means
};

struct PreferenceLoss {
  std::vector<PreferencePair> pairs;  // [B]
  std::vector<double> d_logprobs;     // [tokens] d loss / d logprob, 0 where a token has no part in the loss
  std::vector<std::string> parts;     // names of what else the loss measures (PreferencePair::parts), up to three

  double loss() const;  // the pairs' losses, added in their order
};

// A loss with every measured number of its pairs filled in that needs no options; CHECKs the arrays' sizes.
PreferenceLoss measured_pairs(const PreferenceInputs& inputs);

// Σ of a token array over the counted tokens of one row; 0 where the array is empty.
double row_sum(const RaggedRows& rows, std::span<const double> values, size_t row);

// Adds `slope` to the derivative of every counted token of a row.
void add_to_row(const RaggedRows& rows, size_t row, double slope, std::span<double> d_logprobs);

// Which numbers of a token the inputs held, and so what the metrics of preference_metrics are.
struct PreferenceMeasured {
  bool entropies = false, correct = false, mean_logits = false;
};
PreferenceMeasured measured(const PreferenceInputs& inputs);

// Means over pairs, under TRL's names: rewards/chosen, rewards/rejected, rewards/accuracies (share of pairs whose
// chosen reward is larger; a tie is wrong), rewards/margins, logps/chosen, logps/rejected; and as far as measured
// logits/chosen, logits/rejected, mean_token_accuracy (chosen rows' tokens), entropy (both rows' tokens). No pair: 0.
// `parts`: the names of what else the loss has measured, PreferenceLoss::parts.
Metrics preference_metrics(std::span<const PreferencePair> pairs, const PreferenceMeasured& measured = {},
                           std::span<const std::string> parts = {});

}  // namespace candor::algorithms
