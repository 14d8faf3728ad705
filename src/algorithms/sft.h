// Supervised fine-tuning on per-token log-probabilities: negative log-likelihood, and Dynamic Fine-Tuning (arXiv
// 2508.05629), which weighs each token by its own probability, held constant.
//
// The loss is a sum over tokens divided by the label tokens of the whole optimizer step (TRL's num_items_in_batch), so
// a row's numbers depend on that row and this count alone: rows may be split into calls at will without changing a bit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "algorithms/metrics.h"
#include "algorithms/ragged.h"

namespace candor::algorithms {

enum class SftLossType { kNll, kDft };

// Token arrays are [tokens] of `rows`; where the mask is 0 any number may stand there.
struct SftInputs {
  RaggedRows rows;                    // mask: 1 = a label, which counts
  std::span<const double> logprobs;   // ln p of the label
  std::span<const double> entropies;  // nats; empty: not measured
  std::span<const uint8_t> correct;   // 1 = the label is the likeliest token; empty: not measured
  int64_t label_tokens = 0;           // of the whole step
  // Label smoothing: the share of a label's weight that all values of the vocabulary have alike, and of each token the
  // mean over the vocabulary of ln p (empty where the share is 0). With nll only.
  double label_smoothing = 0;
  std::span<const double> mean_logprobs = {};
};

// What one row adds to the step: the loss with its divisor, the rest as sums over its counted tokens.
struct SftRow {
  double loss = 0;
  int64_t tokens = 0;
  double nll = 0;  // Σ -ln p, whatever the loss
  double entropy = 0;
  int64_t correct = 0;
};

struct SftLoss {
  std::vector<SftRow> rows;             // [N]
  std::vector<double> d_logprobs;       // [tokens] d loss / d logprob, 0 under the mask
  std::vector<double> d_mean_logprobs;  // the same by mean_logprobs; empty without label smoothing

  double loss() const;  // the rows' losses, added in row order
};

// Pure. nll: Σ -ln p / n, derivative -1/n; with label smoothing ε: Σ -((1-ε)·ln p + ε·mean ln p) / n, as Transformers'
// LabelSmoother. dft: Σ -sg(p)·ln p / n, derivative -p/n. n = max(label_tokens, 1), so that
// nothing counted gives loss 0 and derivatives 0. A non-finite input gives a non-finite loss.
SftLoss sft_loss(const SftInputs& inputs, SftLossType type);

// entropy (token mean) and mean_token_accuracy of these rows together, 0 where nothing was counted: TRL's names.
Metrics sft_metrics(std::span<const SftRow> rows);

}  // namespace candor::algorithms
