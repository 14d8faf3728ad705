#include "algorithms/entropy.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace candor::algorithms {

namespace {

// Linear interpolation between the order statistics; NaN without values.
double quantile_of(std::vector<double> values, double q) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  const double position = q * static_cast<double>(values.size() - 1);
  const size_t below = std::min(static_cast<size_t>(position), values.size() - 1);
  const size_t above = std::min(below + 1, values.size() - 1);
  const double fraction = position - static_cast<double>(below);
  return values[below] + fraction * (values[above] - values[below]);
}

}  // namespace

std::vector<uint8_t> top_entropy_mask(const RaggedRows& rows, std::span<const double> entropies, double quantile,
                                      int64_t local_batch_rows) {
  CHECK(entropies.size() == rows.tokens() && quantile >= 0 && quantile <= 1);
  std::vector<uint8_t> kept(rows.tokens(), 0);
  const size_t n = rows.size();
  const size_t batch = local_batch_rows > 0 ? static_cast<size_t>(local_batch_rows) : std::max<size_t>(n, 1);
  for (size_t first = 0; first < n; first += batch) {
    const size_t last = std::min(first + batch, n);
    std::vector<double> counted;
    for (size_t t = rows.begin(first); t < rows.begin(last); ++t)
      if (rows.counts(t) && !std::isnan(entropies[t])) counted.push_back(entropies[t]);
    const double threshold = quantile_of(std::move(counted), 1.0 - quantile);
    for (size_t t = rows.begin(first); t < rows.begin(last); ++t) kept[t] = rows.counts(t) && entropies[t] >= threshold;
  }
  return kept;
}

std::vector<double> entropy_bonus_weights(const RaggedRows& rows, std::span<const uint8_t> kept, double coefficient,
                                          int64_t local_batch_rows, int64_t accumulation_steps) {
  CHECK(kept.empty() || kept.size() == rows.tokens());
  const size_t n = rows.size();
  const size_t batch = local_batch_rows > 0 ? static_cast<size_t>(local_batch_rows) : std::max<size_t>(n, 1);
  const double acc = static_cast<double>(accumulation_steps > 0 ? accumulation_steps : (n + batch - 1) / batch);
  std::vector<double> weights(n);
  for (size_t first = 0; first < n; first += batch) {
    const size_t last = std::min(first + batch, n);
    int64_t count = 0;
    for (size_t t = rows.begin(first); t < rows.begin(last); ++t) count += rows.counts(t) && (kept.empty() || kept[t]);
    for (size_t i = first; i < last; ++i)
      weights[i] = coefficient / static_cast<double>(std::max<int64_t>(count, 1)) / acc;
  }
  return weights;
}

void EntropyController::update(double step_entropy) {
  last_entropy = step_entropy;
  coefficient = std::clamp(coefficient + (step_entropy <= target ? delta : -delta), min, max);
}

}  // namespace candor::algorithms
