// The bootstrap: how far a mean would move if the items had been drawn again (Efron 1979).
#pragma once

#include <cstdint>
#include <span>

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

}  // namespace candor::statistics
