#include "engine/kernels/divergence.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/math.h"

namespace candor::engine {

namespace {

constexpr int64_t kMost = 512;

// exp(z·factor − log_sum) of a row. A float's last bit in log_sum would move every probability by 1e-6 the same way:
// what the rounding took is the factor that is returned, for sums over the row.
double probabilities(const Kernels& kernels, const float* logits, int64_t n, float factor, double log_sum, float* out) {
  const auto shift = static_cast<float>(log_sum);
  kernels.exp_row(logits, n, factor, shift, out);
  return exact_exp(static_cast<double>(shift) - log_sum);
}

// ln x of a positive normal number, within 2 units in the last place: x = 2^e·m with m in [√½, √2), and
// ln m = 2·atanh((m − 1)/(m + 1)). Without branches, so that the compiler makes vectors of it.
float natural_log(float x) {
  constexpr int32_t kRootHalf = 0x3f3504f3;
  const auto bits = std::bit_cast<int32_t>(x);
  const int32_t exponent = (bits - kRootHalf) >> 23;
  const auto m = std::bit_cast<float>(bits - exponent * (1 << 23));
  const float s = (m - 1.0f) / (m + 1.0f), square = s * s;
  const float series = square * (2.0f / 3 + square * (2.0f / 5 + square * (2.0f / 7 + square * (2.0f / 9))));
  const auto e = static_cast<float>(exponent);
  return e * 0.693145752f + (2.0f * s + (s * series + e * 1.42860677e-6f));
}

// Σ a·b in eight chains, which are added in their order.
double sum_of_products(const float* a, const float* b, int64_t n) {
  double chains[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int64_t j = 0; j < 8; ++j) chains[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
  for (int64_t j = 0; i + j < n; ++j) chains[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
  double sum = 0;
  for (const double chain : chains) sum += chain;
  return sum;
}

// ln q − ln p of each id.
void log_ratios(const DivergentRow& row, const float* first, const float* other, int64_t n, float* d) {
  const auto constant = static_cast<float>(row.other_log_sum - row.log_sum);
  for (int64_t j = 0; j < n; ++j)
    d[j] = other[j] * row.inverse_temperature - first[j] * row.inverse_temperature - constant;
}

// u = ln m − ln p = ln((1-b) + b·e^d) and w = ln m − ln q = u − d from d = ln q − ln p, each by its larger term.
void mixture_ratios(const Kernels& kernels, double beta, const float* d, int64_t n, float* u, float* w) {
  float smaller[kMost] = {};
  for (int64_t j = 0; j < n; ++j) smaller[j] = d[j] < 0 ? d[j] : -d[j];
  kernels.exp_row(smaller, n, 1.0f, 0.0f, smaller);
  const auto of_other = static_cast<float>(beta), of_first = static_cast<float>(1.0 - beta);
  for (int64_t j = 0; j < n; ++j) {
    const float above = d[j] > 0 ? d[j] : 0.0f, below = d[j] > 0 ? 0.0f : -d[j];
    const float large = d[j] > 0 ? of_other : of_first, small = d[j] > 0 ? of_first : of_other;
    const float part = natural_log(large + small * smaller[j]);
    u[j] = above + part;
    w[j] = below + part;
  }
}

}  // namespace

void divergence_block(const Kernels& kernels, const DivergentRow& row, const float* first, const float* other,
                      int64_t n, DivergenceSums* sums) {
  CHECK(n <= kMost);
  float d[kMost], u[kMost], w[kMost], p[kMost];
  log_ratios(row, first, other, n, d);
  const bool mixes = row.beta > 0 && row.beta < 1;
  if (mixes) mixture_ratios(kernels, row.beta, d, n, u, w);
  if (row.beta > 0) {
    const double factor = probabilities(kernels, first, n, row.inverse_temperature, row.log_sum, p);
    sums->of_first -= factor * sum_of_products(p, mixes ? u : d, n);
  }
  if (row.beta < 1) {
    const double factor = probabilities(kernels, other, n, row.inverse_temperature, row.other_log_sum, p);
    const double sum = sum_of_products(p, mixes ? w : d, n);
    sums->of_other += factor * (mixes ? -sum : sum);
  }
}

void divergence_block_gradient(const Kernels& kernels, const DivergentRow& row, double of_first, float coefficient,
                               const float* first, const float* other, int64_t n, float* gradient) {
  CHECK(n <= kMost);
  float d[kMost], u[kMost], w[kMost], p[kMost];
  const double own = probabilities(kernels, first, n, row.inverse_temperature, row.log_sum, p);
  const double scale = static_cast<double>(coefficient) * static_cast<double>(row.inverse_temperature);
  if (row.beta == 0) {
    const double others = probabilities(kernels, other, n, row.inverse_temperature, row.other_log_sum, u);
    const auto of_p = static_cast<float>(scale * own), of_q = static_cast<float>(scale * others);
    for (int64_t j = 0; j < n; ++j) gradient[j] = of_p * p[j] - of_q * u[j];
    return;
  }
  log_ratios(row, first, other, n, d);
  const bool mixes = row.beta < 1;
  if (mixes) mixture_ratios(kernels, row.beta, d, n, u, w);
  const float* ratio = mixes ? u : d;
  const auto weight = static_cast<float>(scale * own * (mixes ? 1.0 - row.beta : 1.0));
  const auto mean = static_cast<float>(of_first);
  for (int64_t j = 0; j < n; ++j) gradient[j] = weight * (p[j] * (-ratio[j] - mean));
}

void spread_block(const Kernels& kernels, double log_sum, float inverse_temperature, const float* logits, int64_t n,
                  SpreadSums* sums) {
  CHECK(n <= kMost);
  float p[kMost];
  const double factor = probabilities(kernels, logits, n, inverse_temperature, log_sum, p);
  sums->squares += factor * factor * sum_of_products(p, p, n);
  double sum = 0;
  for (int64_t j = 0; j < n; ++j) sum += static_cast<double>(logits[j] * inverse_temperature);
  sums->logits += sum;
}

}  // namespace candor::engine
