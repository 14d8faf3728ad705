#include "statistics/paired.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"
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

double minimum_detectable_mean(int64_t pairs, double deviation, double alpha, double power) {
  CHECK(pairs > 0 && deviation >= 0 && alpha > 0 && alpha < 1 && power > 0 && power < 1);
  return (normal_quantile(power) - normal_quantile(0.5 * alpha)) * deviation / std::sqrt(static_cast<double>(pairs));
}

double sign_flip_test(std::span<const double> differences, const SignFlipOptions& options) {
  CHECK(options.resamples > 0);
  constexpr size_t kMostToTry = 14;
  std::vector<double> sizes;
  double sum = 0, largest = 0;
  for (const double difference : differences) {
    if (difference == 0) continue;
    sizes.push_back(std::abs(difference));
    sum += difference;
    largest += std::abs(difference);
  }
  if (sizes.empty()) return 1.0;
  // Sums of the same numbers in other signs may round apart.
  const double observed = std::abs(sum) - 1e-12 * largest;
  const auto is_as_large = [&](const auto& positive) {
    double flipped = 0;
    for (size_t i = 0; i < sizes.size(); ++i) flipped += positive(i) ? sizes[i] : -sizes[i];
    return std::abs(flipped) >= observed;
  };
  if (sizes.size() <= kMostToTry) {
    const uint64_t all = uint64_t{1} << sizes.size();
    int64_t count = 0;
    for (uint64_t signs = 0; signs < all; ++signs)
      count += is_as_large([&](size_t i) { return (signs >> i & 1) != 0; });
    return static_cast<double>(count) / static_cast<double>(all);
  }
  int64_t count = 1;
  for (int64_t r = 1; r < options.resamples; ++r) {
    const RngKey key{options.seed, RngStream::kBootstrap, 1, static_cast<uint32_t>(r)};
    std::array<uint32_t, 4> words{};
    count += is_as_large([&](size_t i) {
      if (i % 128 == 0) words = random_words(key, i / 128);
      return (words[i % 128 / 32] >> i % 32 & 1) != 0;
    });
  }
  return static_cast<double>(count) / static_cast<double>(options.resamples);
}

std::vector<double> holm(std::span<const double> p_values) {
  const size_t tests = p_values.size();
  std::vector<size_t> order(tests);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> adjusted(tests);
  double least = 0;
  for (size_t rank = 0; rank < tests; ++rank) {
    least = std::max(least, std::min(1.0, static_cast<double>(tests - rank) * p_values[order[rank]]));
    adjusted[order[rank]] = least;
  }
  return adjusted;
}

}  // namespace candor::statistics
