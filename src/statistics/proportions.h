// Confidence intervals of one proportion: k successes in n independent trials.
#pragma once

#include <cstdint>

namespace candor::statistics {

struct Interval {
  double low = 0, high = 0;
};

// Clopper and Pearson (1934): exact, never covers less than `confidence`. n = 0: [0, 1].
Interval clopper_pearson(int64_t successes, int64_t trials, double confidence = 0.95);

// Wilson (1927), the score interval: covers `confidence` on average, shorter. n = 0: [0, 1].
Interval wilson(int64_t successes, int64_t trials, double confidence = 0.95);

}  // namespace candor::statistics
