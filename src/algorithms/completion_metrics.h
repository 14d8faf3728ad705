// How long the completions of a step are, under TRL's names.
#pragma once

#include <cstdint>
#include <span>

#include "algorithms/metrics.h"

namespace candor::algorithms {

// lengths [N] in tokens, the stop token included; terminated [N], 1 = ended by a stop token or stop string, 0 = cut
// off. completions/mean_length, min_length, max_length, clipped_ratio (share cut off), mean_terminated_length,
// min_terminated_length, max_terminated_length (over the terminated; 0 where there is none, as in TRL). No completion:
// all 0.
Metrics completion_metrics(std::span<const int64_t> lengths, std::span<const uint8_t> terminated);

}  // namespace candor::algorithms
