// Two models measured on the same items, before and after, by right or wrong or by a score: only the items that changed
// carry information. And several such tests at once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "statistics/proportions.h"

namespace candor::statistics {

// How many items were right in both, in one alone, in neither.
struct PairedCounts {
  int64_t both = 0, only_before = 0, only_after = 0, neither = 0;

  int64_t pairs() const { return both + only_before + only_after + neither; }
  double before() const;  // share right before; 0 without pairs
  double after() const;
  double difference() const;  // after - before
};

// 1 is right; both spans hold the same items in the same order.
PairedCounts paired_counts(std::span<const uint8_t> before, std::span<const uint8_t> after);

// Exact two-sided McNemar test (1947): under no difference only_after ~ Binomial(only_before + only_after, 1/2); the
// p-value is twice the smaller tail, at most 1. No discordant pair: 1.
double mcnemar_exact(int64_t only_before, int64_t only_after);

// Interval of after - before: Newcombe's (1998) method 10, the square-and-add of two Wilson intervals with the
// correlation of the pairs (with his continuity correction of that correlation). Within [-1, 1]; without pairs [-1, 1].
Interval paired_difference(const PairedCounts& counts, double confidence = 0.95);

// The smallest |after - before| that a two-sided McNemar test of `pairs` items finds with probability `power`, where a
// share `discordant` of the items changes (before to after or back): Connor (1987), from
//   pairs·δ² = (z_{1-α/2}·√discordant + z_power·√(discordant - δ²))².
// At most `discordant` (a difference cannot exceed it); where even that is not found: NaN.
double minimum_detectable_difference(int64_t pairs, double discordant, double alpha = 0.05, double power = 0.8);

struct SignFlipOptions {
  int64_t resamples = 20000;  // where there are too many assignments of signs to try them all
  uint64_t seed = 0;
};

// Two-sided permutation test (Fisher 1935) that the mean of paired differences is 0: the share of assignments of signs
// to the differences whose |sum| is at least the observed one. Up to 14 differences that are not 0 all assignments are
// tried; beyond that `resamples` drawn ones, the observed one counted among them (Phipson and Smyth 2010), so never 0.
// No difference but 0: 1.
double sign_flip_test(std::span<const double> differences, const SignFlipOptions& options = {});

// The same for the mean of differences with this standard deviation: (z_{1-α/2} + z_power)·deviation/√pairs.
double minimum_detectable_mean(int64_t pairs, double deviation, double alpha = 0.05, double power = 0.8);

// Holm (1979): p-values of several tests, adjusted so that rejecting those below α errs at all with probability at most
// α. In the order given; each at least as large as before, at most 1.
std::vector<double> holm(std::span<const double> p_values);

}  // namespace candor::statistics
