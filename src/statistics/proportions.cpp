#include "statistics/proportions.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "statistics/distributions.h"

namespace candor::statistics {

Interval clopper_pearson(int64_t successes, int64_t trials, double confidence) {
  CHECK(successes >= 0 && successes <= trials && confidence > 0 && confidence < 1);
  const double k = static_cast<double>(successes), n = static_cast<double>(trials), tail = 0.5 * (1.0 - confidence);
  return {successes == 0 ? 0.0 : incomplete_beta_inverse(k, n - k + 1, tail),
          successes == trials ? 1.0 : incomplete_beta_inverse(k + 1, n - k, 1.0 - tail)};
}

Interval wilson(int64_t successes, int64_t trials, double confidence) {
  CHECK(successes >= 0 && successes <= trials && confidence > 0 && confidence < 1);
  if (trials == 0) return {0.0, 1.0};
  const double n = static_cast<double>(trials), share = static_cast<double>(successes) / n;
  const double z = -normal_quantile(0.5 * (1.0 - confidence));
  const double center = share + z * z / (2 * n);
  const double half = z * std::sqrt(share * (1 - share) / n + z * z / (4 * n * n));
  const double scale = 1 + z * z / n;
  // the bounds at 0 and n are exact; rounding would leave a residue there
  return {successes == 0 ? 0.0 : std::max(0.0, (center - half) / scale),
          successes == trials ? 1.0 : std::min(1.0, (center + half) / scale)};
}

}  // namespace candor::statistics
