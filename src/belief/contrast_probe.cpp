#include "belief/contrast_probe.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "algorithms/logistic.h"
#include "base/check.h"
#include "base/math.h"
#include "base/rng.h"

namespace candor::belief {

namespace {

using algorithms::sigmoid;

// Statement and negation of each pair [pairs][width], each side less its mean, over the deviation of all.
struct Contrast {
  size_t pairs = 0, width = 0;
  std::vector<float> statements, negations;
  std::vector<double> statement_mean, negation_mean;
  double deviation = 1;
};

Contrast contrast_of(const ProbeRows& rows, std::span<const size_t> train) {
  std::vector<uint8_t> inside(rows.rows(), 0);
  for (const size_t row : train) inside[row] = 1;
  std::vector<std::pair<size_t, size_t>> pairs;
  for (const auto& pair : rows.pairs)
    if (inside[pair.first] && inside[pair.second]) pairs.push_back(pair);
  Contrast out;
  out.pairs = pairs.size();
  out.width = rows.width;
  out.statement_mean.assign(rows.width, 0.0);
  out.negation_mean.assign(rows.width, 0.0);
  const double n = static_cast<double>(pairs.size());
  for (const auto& [statement, negation] : pairs)
    for (size_t i = 0; i < rows.width; ++i) {
      out.statement_mean[i] += static_cast<double>(rows.state(statement)[i]) / n;
      out.negation_mean[i] += static_cast<double>(rows.state(negation)[i]) / n;
    }
  double squares = 0;
  for (const auto& [statement, negation] : pairs)
    for (size_t i = 0; i < rows.width; ++i) {
      out.statements.push_back(
          static_cast<float>(static_cast<double>(rows.state(statement)[i]) - out.statement_mean[i]));
      out.negations.push_back(static_cast<float>(static_cast<double>(rows.state(negation)[i]) - out.negation_mean[i]));
      squares += static_cast<double>(out.statements.back()) * static_cast<double>(out.statements.back()) +
                 static_cast<double>(out.negations.back()) * static_cast<double>(out.negations.back());
    }
  if (squares > 0) out.deviation = std::sqrt(squares / (2 * n * static_cast<double>(rows.width)));
  for (std::vector<float>* side : {&out.statements, &out.negations})
    for (float& value : *side) value = static_cast<float>(static_cast<double>(value) / out.deviation);
  return out;
}

// Weights [width] and, last, the intercept.
using Parameters = std::vector<double>;

double at(const Parameters& parameters, const float* x, size_t width) {
  double sum = parameters[width];
  for (size_t i = 0; i < width; ++i) sum += parameters[i] * static_cast<double>(x[i]);
  return sum;
}

double loss_and_gradient(const Contrast& contrast, const Parameters& parameters, Parameters& gradient) {
  std::fill(gradient.begin(), gradient.end(), 0.0);
  const double n = static_cast<double>(contrast.pairs);
  std::vector<double> ps, qs;
  for (size_t k = 0; k < contrast.pairs; ++k) {
    const float* x = contrast.statements.data() + k * contrast.width;
    const float* y = contrast.negations.data() + k * contrast.width;
    const double p = sigmoid(at(parameters, x, contrast.width)), q = sigmoid(at(parameters, y, contrast.width));
    const double inconsistent = 2 * (p + q - 1);
    const double dp = (inconsistent + (p <= q ? 2 * p : 0.0)) * p * (1 - p) / n;
    const double dq = (inconsistent + (p <= q ? 0.0 : 2 * q)) * q * (1 - q) / n;
    for (size_t i = 0; i < contrast.width; ++i)
      gradient[i] += dp * static_cast<double>(x[i]) + dq * static_cast<double>(y[i]);
    gradient[contrast.width] += dp + dq;
    ps.push_back(p);
    qs.push_back(q);
  }
  return contrast_loss(ps, qs);
}

// Adam (arXiv 1412.6980, algorithm 1) from one beginning; returns the loss.
double descend(const Contrast& contrast, const ProbeOptions& options, Parameters& parameters) {
  constexpr double kFirst = 0.9, kSecond = 0.999, kSmall = 1e-8;
  Parameters gradient(parameters.size()), first(parameters.size(), 0.0), second(parameters.size(), 0.0);
  double first_left = 1, second_left = 1;
  for (int64_t step = 0; step < options.steps; ++step) {
    loss_and_gradient(contrast, parameters, gradient);
    first_left *= kFirst;
    second_left *= kSecond;
    for (size_t i = 0; i < parameters.size(); ++i) {
      first[i] = kFirst * first[i] + (1 - kFirst) * gradient[i];
      second[i] = kSecond * second[i] + (1 - kSecond) * gradient[i] * gradient[i];
      parameters[i] -=
          options.rate * (first[i] / (1 - first_left)) / (std::sqrt(second[i] / (1 - second_left)) + kSmall);
    }
  }
  return loss_and_gradient(contrast, parameters, gradient);
}

}  // namespace

double contrast_loss(std::span<const double> p, std::span<const double> q) {
  CHECK(p.size() == q.size());
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double inconsistent = p[i] - (1 - q[i]), unsure = std::min(p[i], q[i]);
    sum += inconsistent * inconsistent + unsure * unsure;
  }
  return sum / static_cast<double>(p.size());
}

Probe fit_contrast(const ProbeRows& rows, std::span<const size_t> train, const ProbeOptions& options) {
  Probe probe{std::vector<double>(rows.width, 0.0)};
  const Contrast contrast = contrast_of(rows, train);
  if (contrast.pairs == 0) return probe;
  Parameters best;
  double least = std::numeric_limits<double>::infinity();
  for (int64_t restart = 0; restart < options.restarts; ++restart) {
    Parameters parameters(rows.width + 1, 0.0);
    const RngKey key{options.seed, RngStream::kInitialisation, 1, static_cast<uint32_t>(restart)};
    const double scale = 1 / std::sqrt(static_cast<double>(rows.width));
    for (size_t i = 0; i < rows.width; ++i) parameters[i] = scale * random_normal(key, i);
    const double loss = descend(contrast, options, parameters);
    if (loss < least) {
      least = loss;
      best = parameters;
    }
  }
  if (best.empty()) return probe;
  for (size_t i = 0; i < rows.width; ++i) probe.weights[i] = best[i] / contrast.deviation;
  probe.intercept_affirmative = probe.intercept_negated = best[rows.width];
  for (size_t i = 0; i < rows.width; ++i) {
    probe.intercept_affirmative -= probe.weights[i] * contrast.statement_mean[i];
    probe.intercept_negated -= probe.weights[i] * contrast.negation_mean[i];
  }
  int64_t right = 0;
  for (const size_t row : train)
    right += (probe.log_odds(rows.state(row), rows.polarity[row] != 0) > 0) == (rows.truth[row] != 0);
  if (2 * right >= std::ssize(train)) return probe;
  for (double& weight : probe.weights) weight = -weight;
  probe.intercept_affirmative = -probe.intercept_affirmative;
  probe.intercept_negated = -probe.intercept_negated;
  return probe;
}

}  // namespace candor::belief
