// What one generation shows of itself, in a handful of cheap numbers. Pure: the guard's memory is elsewhere (guard.h).
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "algorithms/metrics.h"

namespace candor::guard {

struct RolloutView {
  int64_t group_size = 1;                     // completions of a prompt; groups are adjacent
  std::span<const double> rewards;            // [N] as trained on, without KL; NaN: unscored
  std::span<const double> parts;              // [N,K] unweighted; NaN: abstained
  std::span<const std::string> part_names;    // [K] as in metrics.jsonl
  std::span<const std::string> texts;         // [N]
  std::vector<std::span<const int32_t>> ids;  // [N] completion tokens
  std::span<const uint8_t> finished;          // [N] 1 = ended by itself, 0 = cut off; may be empty
  std::span<const double> entropies;          // [tokens] of the sampler, may be empty
  std::span<const double> kl;                 // [N] nats per completion, sum of log-ratios (k1); empty: not known
  double kl_exact = std::nan("");             // nats per completion, exact; NaN: not measured at this step
  std::span<const double> gold;               // [N] the held-out reward; NaN: abstained; empty: not measured
  std::span<const double> disagreement;       // [N] standard deviation over a reward ensemble's members; may be empty
};

// Rows of metrics.jsonl as docs/metrics.md, "Guard", defines them, in that order. One that is not defined at this step
// is not there: so a run has no column for what it cannot measure. Only `gold` is NaN where the held-out reward was
// asked and abstained on everything. A reward is read as a verifier's where all its values lie within [-2, 2]: it
// accepts at ½ or more.
algorithms::Metrics rollout_signals(const RolloutView& view);

// Pearson's correlation of a and b about the means of their groups, pooled over the groups; rows with a NaN are left
// out. NaN where either has no spread within any group, or nothing is there.
double correlation_within_groups(std::span<const double> a, std::span<const double> b, int64_t group_size);

}  // namespace candor::guard
