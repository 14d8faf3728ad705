// The bootstrap: how far a mean, or any statistic, would move if the items had been drawn again (Efron 1979; Rubin
// 1981).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "statistics/proportions.h"

namespace candor::statistics {

struct BootstrapOptions {
  int64_t resamples = 10000;
  double confidence = 0.95;
  uint64_t seed = 0;
};

// Percentile interval of the mean of `values` (quantiles with linear interpolation). For a paired difference give the
// items' differences. One value: that value twice; none: NaN. A pure function of values and options (base/rng.h).
Interval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options = {});

// The same of mean(a) - mean(b), two samples that are drawn again each by itself. Either empty: NaN.
Interval bootstrap_difference(std::span<const double> a, std::span<const double> b,
                              const BootstrapOptions& options = {});

// A sample whose items are drawn again. Beside its `items` it may have `halves`: outcomes that were never seen and
// count half an item, so that a share of 0 or 1 keeps an interval (with one of either outcome: Jeffreys' prior).
struct Resampled {
  int64_t items = 0, halves = 0;
};

// Percentile interval of a statistic of several samples, each drawn again by itself, by the Bayesian bootstrap: instead
// of being drawn so and so often an item has a weight, Gamma(1) distributed (of a half: Gamma(1/2)). The statistic gets
// weights [sample][items, then halves], all > 0; resamples where it is NaN are left out. All NaN: NaN.
using WeightedStatistic = std::function<double(std::span<const std::vector<double>> weights)>;
Interval bayesian_bootstrap(std::span<const Resampled> samples, const WeightedStatistic& statistic,
                            const BootstrapOptions& options = {});

}  // namespace candor::statistics
