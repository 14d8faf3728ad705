// Losses on single completions that are known to be desirable or not: KTO (arXiv 2402.01306), APO's zero_unpaired
// (2408.06266) and BCO (2404.04656). Formulas and defaults are TRL's (KTO 1.16, BCO 1.13).
//
// Both shift a row's log-ratio by a statistic of other rows, held constant: KTO by the KL on mismatched completions of
// the local batch, BCO by the running mean of all implicit rewards. The caller makes it first and gives it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "algorithms/metrics.h"
#include "algorithms/ragged.h"

namespace candor::algorithms {

// Token arrays are [tokens] of `rows`; where the mask is 0 any number may stand there.
struct UnpairedInputs {
  RaggedRows rows;
  std::span<const double> logprobs, reference_logprobs;
  std::span<const uint8_t> desirable;    // [N] 1 = wanted, 0 = not wanted
  std::span<const double> weights = {};  // [N] BCO's density ratios; empty: 1
  int64_t step_rows = 0;                 // rows of the step, the mean's divisor; 0: these
};

struct UnpairedRow {
  double loss = 0;  // with its divisor
  bool desirable = false;
  double logps = 0;   // Σ logprob
  double reward = 0;  // β·Σ (logprob - reference_logprob)
};

struct UnpairedLoss {
  std::vector<UnpairedRow> rows;   // [N]
  std::vector<double> d_logprobs;  // [tokens] d loss / d logprob, 0 under the mask

  double loss() const;  // the rows' losses, added in row order
};

struct KtoOptions {
  double beta = 0.1;
  double desirable_weight = 1.0, undesirable_weight = 1.0;
};

// max(0, mean log-ratio of mismatched completions): a prompt with another row's completion (kl.h's row_kl_k1). None: 0.
double kto_kl(std::span<const double> mismatched_log_ratios);

// Pure. weight·(1 - σ(sβ(h - kl))) with h the row's log-ratio and s = 1 for a desirable row, -1 for another; mean over
// rows. apo_zero_unpaired is this with kl 0.
UnpairedLoss kto_loss(const UnpairedInputs& inputs, const KtoOptions& options, double kl);

// BCO's δ: the mean of all implicit rewards so far. Starts at 0 with next to no weight.
struct RunningMean {
  double mean = 0, count = 1e-24;
  void add(std::span<const double> values);  // the batch's mean, weighted by its size
};

// Pure. ℓ(s(βh - δ)) times the row's weight, mean over rows; δ already holds this batch in training.
UnpairedLoss bco_loss(const UnpairedInputs& inputs, double beta, double delta);

// A row's implicit reward β·h, [N]: what RunningMean::add takes.
std::vector<double> implicit_rewards(const UnpairedInputs& inputs, double beta);

// How much an undesirable row counts where desirable and undesirable prompts differ: p/(1-p+1e-8) within the bounds, p
// the probability that its prompt belongs to a desirable row.
double density_ratio(double probability, double min_ratio = 0.5, double max_ratio = 10.0);

// rewards/chosen, logps/chosen (means over desirable rows), rewards/rejected, logps/rejected, rewards/margins; what has
// no row is left out, as TRL does.
Metrics unpaired_metrics(std::span<const UnpairedRow> rows);

}  // namespace candor::algorithms
