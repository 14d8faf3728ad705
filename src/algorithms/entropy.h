// Entropy in the group losses: the mask that trains only the most uncertain tokens (arXiv 2506.01939), the entropy
// bonus and its adaptive coefficient (arXiv 2505.22312). All are about a local batch (TRL's micro-batch of
// per_device_train_batch_size rows), so they need the entropies of its rows before any of them is trained.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "algorithms/ragged.h"

namespace candor::algorithms {

// [tokens]: 1 where the entropy is at least the (1 - quantile)-quantile (linear interpolation) of the counted tokens of
// its local batch; 0 elsewhere and under the mask. quantile in [0, 1]: 1 keeps all, 0 the largest alone.
// local_batch_rows 0: one batch. A NaN entropy is never kept.
std::vector<uint8_t> top_entropy_mask(const RaggedRows& rows, std::span<const double> entropies, double quantile,
                                      int64_t local_batch_rows);

// [N] for GrpoInputs::entropy_weights: coefficient / (kept tokens of the local batch, at least 1) / accumulation steps.
// kept [tokens], empty: all; accumulation_steps 0: the number of local batches.
std::vector<double> entropy_bonus_weights(const RaggedRows& rows, std::span<const uint8_t> kept, double coefficient,
                                          int64_t local_batch_rows, int64_t accumulation_steps);

// The adaptive coefficient: it acts only while the last step's entropy was at or below the target (so never in the
// first step), and moves by delta after each step. last_entropy and coefficient belong in a checkpoint.
struct EntropyController {
  double target = 0.2, delta = 0.005, min = 0.0, max = 1.0;
  double coefficient = 0.0;
  double last_entropy = std::numeric_limits<double>::infinity();

  double active_coefficient() const { return last_entropy <= target ? coefficient : 0.0; }
  void update(double step_entropy);  // mean over the kept tokens of the whole step, nats
};

}  // namespace candor::algorithms
