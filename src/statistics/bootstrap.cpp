#include "statistics/bootstrap.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/check.h"
#include "base/rng.h"

namespace candor::statistics {

namespace {

double quantile_of_sorted(std::span<const double> values, double q) {
  const double position = q * static_cast<double>(values.size() - 1);
  const size_t below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (position - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace

Interval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options) {
  CHECK(options.resamples > 0 && options.confidence > 0 && options.confidence < 1);
  constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
  if (values.empty()) return {kUndefined, kUndefined};
  std::vector<double> means(static_cast<size_t>(options.resamples));
  for (size_t r = 0; r < means.size(); ++r) {
    const RngKey key{options.seed, RngStream::kBootstrap, 0, static_cast<uint32_t>(r)};
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += values[random_below(key, i, values.size())];
    means[r] = sum / static_cast<double>(values.size());
  }
  std::sort(means.begin(), means.end());
  const double tail = 0.5 * (1.0 - options.confidence);
  return {quantile_of_sorted(means, tail), quantile_of_sorted(means, 1.0 - tail)};
}

}  // namespace candor::statistics
