#include "algorithms/unpaired.h"

#include <algorithm>

#include "algorithms/kl.h"
#include "algorithms/logistic.h"
#include "base/check.h"

namespace candor::algorithms {

namespace {

// curve(s, reward): the loss of a row with the implicit reward β·h, and its slope by that reward.
template <typename LossCurve>
UnpairedLoss row_losses(const UnpairedInputs& in, double beta, const LossCurve& curve) {
  const size_t n = in.rows.size();
  CHECK(in.desirable.size() == n && (in.weights.empty() || in.weights.size() == n));
  const std::vector<double> rewards = implicit_rewards(in, beta);
  const double divisor =
      std::max<double>(1, static_cast<double>(in.step_rows > 0 ? in.step_rows : static_cast<int64_t>(n)));
  UnpairedLoss out;
  out.rows.resize(n);
  out.d_logprobs.assign(in.rows.tokens(), 0.0);
  for (size_t i = 0; i < n; ++i) {
    UnpairedRow& row = out.rows[i];
    row.desirable = in.desirable[i] != 0;
    row.reward = rewards[i];
    const Curve loss = curve(row.desirable, rewards[i]);
    const double share = (in.weights.empty() ? 1.0 : in.weights[i]) / divisor;
    row.loss = share * loss.value;
    for (size_t t = in.rows.begin(i); t < in.rows.end(i); ++t) {
      if (!in.rows.counts(t)) continue;
      row.logps += in.logprobs[t];
      out.d_logprobs[t] = share * beta * loss.slope;
    }
  }
  return out;
}

}  // namespace

double UnpairedLoss::loss() const {
  double sum = 0;
  for (const UnpairedRow& row : rows) sum += row.loss;
  return sum;
}

std::vector<double> implicit_rewards(const UnpairedInputs& in, double beta) {
  std::vector<double> rewards = row_kl_k1(in.rows, in.logprobs, in.reference_logprobs);
  for (double& reward : rewards) reward *= beta;
  return rewards;
}

double kto_kl(std::span<const double> mismatched) {
  double sum = 0;
  for (double log_ratio : mismatched) sum += log_ratio;
  return std::max(0.0, sum / std::max<double>(1, static_cast<double>(mismatched.size())));
}

UnpairedLoss kto_loss(const UnpairedInputs& in, const KtoOptions& o, double kl) {
  return row_losses(in, o.beta, [&](bool desirable, double reward) {
    const double sign = desirable ? 1.0 : -1.0, weight = desirable ? o.desirable_weight : o.undesirable_weight;
    const double x = sign * (reward - o.beta * kl);
    return Curve{weight * sigmoid(-x), -weight * sign * sigmoid_slope(x)};
  });
}

void RunningMean::add(std::span<const double> values) {
  if (values.empty()) return;
  double sum = 0;
  for (double value : values) sum += value;
  const double n = static_cast<double>(values.size());
  mean += (sum / n - mean) * n / (count + n);
  count += n;
}

UnpairedLoss bco_loss(const UnpairedInputs& in, double beta, double delta) {
  return row_losses(in, beta, [&](bool desirable, double reward) {
    const double sign = desirable ? 1.0 : -1.0;
    const Curve loss = neg_log_sigmoid(sign * (reward - delta));
    return Curve{loss.value, sign * loss.slope};
  });
}

double density_ratio(double probability, double min_ratio, double max_ratio) {
  return std::clamp(probability / (1.0 - probability + 1e-8), min_ratio, max_ratio);
}

Metrics unpaired_metrics(std::span<const UnpairedRow> rows) {
  double counts[2] = {}, rewards[2] = {}, logps[2] = {};
  for (const UnpairedRow& row : rows) {
    ++counts[row.desirable];
    rewards[row.desirable] += row.reward;
    logps[row.desirable] += row.logps;
  }
  Metrics metrics;
  for (const bool desirable : {true, false}) {
    if (counts[desirable] == 0) continue;
    const std::string name = desirable ? "chosen" : "rejected";
    metrics.push_back({"rewards/" + name, rewards[desirable] / counts[desirable]});
    metrics.push_back({"logps/" + name, logps[desirable] / counts[desirable]});
  }
  if (counts[0] > 0 && counts[1] > 0)
    metrics.push_back({"rewards/margins", rewards[1] / counts[1] - rewards[0] / counts[0]});
  return metrics;
}

}  // namespace candor::algorithms
