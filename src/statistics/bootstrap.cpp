#include "statistics/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/check.h"
#include "base/math.h"
#include "base/rng.h"

namespace candor::statistics {

namespace {

double quantile_of_sorted(std::span<const double> values, double q) {
  const double position = q * static_cast<double>(values.size() - 1);
  const size_t below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (position - static_cast<double>(below)) * (values[above] - values[below]);
}

// The mean of `values` drawn again, in one resample. sample: tells several lists of values apart.
double resampled_mean(std::span<const double> values, const BootstrapOptions& options, uint32_t sample, size_t r) {
  const RngKey key{options.seed, RngStream::kBootstrap, sample, static_cast<uint32_t>(r)};
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += values[random_below(key, i, values.size())];
  return sum / static_cast<double>(values.size());
}

Interval percentile_interval(std::vector<double> resamples, double confidence) {
  std::sort(resamples.begin(), resamples.end());
  const double tail = 0.5 * (1.0 - confidence);
  return {quantile_of_sorted(resamples, tail), quantile_of_sorted(resamples, 1.0 - tail)};
}

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

}  // namespace

Interval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options) {
  CHECK(options.resamples > 0 && options.confidence > 0 && options.confidence < 1);
  if (values.empty()) return {kUndefined, kUndefined};
  std::vector<double> means(static_cast<size_t>(options.resamples));
  for (size_t r = 0; r < means.size(); ++r) means[r] = resampled_mean(values, options, 0, r);
  return percentile_interval(std::move(means), options.confidence);
}

Interval bootstrap_difference(std::span<const double> a, std::span<const double> b, const BootstrapOptions& options) {
  CHECK(options.resamples > 0 && options.confidence > 0 && options.confidence < 1);
  if (a.empty() || b.empty()) return {kUndefined, kUndefined};
  std::vector<double> differences(static_cast<size_t>(options.resamples));
  for (size_t r = 0; r < differences.size(); ++r)
    differences[r] = resampled_mean(a, options, 0, r) - resampled_mean(b, options, 1, r);
  return percentile_interval(std::move(differences), options.confidence);
}

Interval bayesian_bootstrap(std::span<const Resampled> samples, const WeightedStatistic& statistic,
                            const BootstrapOptions& options) {
  CHECK(options.resamples > 0 && options.confidence > 0 && options.confidence < 1);
  std::vector<std::vector<double>> weights(samples.size());
  std::vector<double> values;
  for (int64_t r = 0; r < options.resamples; ++r) {
    for (size_t s = 0; s < samples.size(); ++s) {
      const RngKey key{options.seed, RngStream::kBootstrap, static_cast<uint32_t>(s), static_cast<uint32_t>(r)};
      weights[s].resize(static_cast<size_t>(samples[s].items + samples[s].halves));
      for (size_t i = 0; i < weights[s].size(); ++i) {
        const bool half = i >= static_cast<size_t>(samples[s].items);
        const double normal = half ? random_normal(key, i) : 0.0;
        weights[s][i] = half ? 0.5 * normal * normal : -exact_log(1.0 - random_uniform(key, i));
      }
    }
    const double value = statistic(weights);
    if (!std::isnan(value)) values.push_back(value);
  }
  if (values.empty()) return {kUndefined, kUndefined};
  return percentile_interval(std::move(values), options.confidence);
}

}  // namespace candor::statistics
