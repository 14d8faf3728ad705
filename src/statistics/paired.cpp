#include "statistics/paired.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "statistics/distributions.h"

namespace candor::statistics {

namespace {

double share(int64_t count, int64_t of) {
  return of == 0 ? 0.0 : static_cast<double>(count) / static_cast<double>(of);
}

// Correlation of the pairs, phi; Newcombe's correction subtracts n/2 from a positive determinant. 0 for an empty
// margin.
double correlation(const PairedCounts& c) {
  const double both = static_cast<double>(c.both), before = static_cast<double>(c.only_before),
               after = static_cast<double>(c.only_after), neither = static_cast<double>(c.neither);
  const double margins = (both + before) * (after + neither) * (both + after) * (before + neither);
  if (margins == 0) return 0.0;
  double determinant = both * neither - before * after;
  if (determinant > 0) determinant = std::max(determinant - 0.5 * static_cast<double>(c.pairs()), 0.0);
  return determinant / std::sqrt(margins);
}

}  // namespace

double PairedCounts::before() const {
  return share(both + only_before, pairs());
}
double PairedCounts::after() const {
  return share(both + only_after, pairs());
}
double PairedCounts::difference() const {
  return share(only_after - only_before, pairs());
}

PairedCounts paired_counts(std::span<const uint8_t> before, std::span<const uint8_t> after) {
  CHECK(before.size() == after.size());
  PairedCounts c;
  for (size_t i = 0; i < before.size(); ++i)
    ++(before[i] ? (after[i] ? c.both : c.only_before) : (after[i] ? c.only_after : c.neither));
  return c;
}

double mcnemar_exact(int64_t only_before, int64_t only_after) {
  CHECK(only_before >= 0 && only_after >= 0);
  const int64_t n = only_before + only_after;
  if (n == 0) return 1.0;
  return std::min(1.0, 2.0 * binomial_at_most(std::min(only_before, only_after), n, 0.5));
}

Interval paired_difference(const PairedCounts& counts, double confidence) {
  const int64_t n = counts.pairs();
  if (n == 0) return {-1.0, 1.0};
  const double p1 = counts.after(), p2 = counts.before(), difference = counts.difference();
  const Interval w1 = wilson(counts.both + counts.only_after, n, confidence);
  const Interval w2 = wilson(counts.both + counts.only_before, n, confidence);
  const double phi = correlation(counts);
  auto distance = [phi](double a, double b) { return std::sqrt(std::max(0.0, a * a - 2 * phi * a * b + b * b)); };
  return {std::max(-1.0, difference - distance(p1 - w1.low, w2.high - p2)),
          std::min(1.0, difference + distance(w1.high - p1, p2 - w2.low))};
}

double minimum_detectable_difference(int64_t pairs, double discordant, double alpha, double power) {
  CHECK(pairs > 0 && discordant > 0 && discordant <= 1 && alpha > 0 && alpha < 1 && power > 0 && power < 1);
  const double z_alpha = -normal_quantile(0.5 * alpha), z_power = normal_quantile(power);
  const double root_n = std::sqrt(static_cast<double>(pairs));
  auto found = [&](double delta) {
    return root_n * delta >= z_alpha * std::sqrt(discordant) + z_power * std::sqrt(discordant - delta * delta);
  };
  double low = 0.0, high = discordant;
  if (!found(high)) return std::numeric_limits<double>::quiet_NaN();
  while (true) {
    const double middle = 0.5 * (low + high);
    if (middle <= low || middle >= high) return high;
    (found(middle) ? high : low) = middle;
  }
}

}  // namespace candor::statistics
