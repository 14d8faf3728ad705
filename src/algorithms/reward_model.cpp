#include "algorithms/reward_model.h"

#include <algorithm>

#include "algorithms/logistic.h"
#include "base/check.h"

namespace candor::algorithms {

double RewardLoss::loss() const {
  double sum = 0;
  for (double loss : losses) sum += loss;
  return sum;
}

RewardLoss reward_loss(const RewardPairs& in, double centring) {
  const size_t n = in.chosen.size();
  CHECK(in.rejected.size() == n && (in.margins.empty() || in.margins.size() == n));
  const double pairs = std::max<double>(1, static_cast<double>(in.pairs > 0 ? in.pairs : static_cast<int64_t>(n)));
  RewardLoss out;
  for (size_t i = 0; i < n; ++i) {
    const double sum = in.chosen[i] + in.rejected[i];
    const Curve loss = neg_log_sigmoid(in.chosen[i] - in.rejected[i] - (in.margins.empty() ? 0.0 : in.margins[i]));
    out.losses.push_back((loss.value + centring * sum * sum) / pairs);
    out.d_chosen.push_back((loss.slope + 2.0 * centring * sum) / pairs);
    out.d_rejected.push_back((-loss.slope + 2.0 * centring * sum) / pairs);
  }
  return out;
}

Metrics reward_metrics(std::span<const double> chosen, std::span<const double> rejected) {
  CHECK(chosen.size() == rejected.size());
  const double n = std::max<double>(1, static_cast<double>(chosen.size()));
  double right = 0, margin = 0, sum = 0, lowest = 0, highest = 0;
  for (size_t i = 0; i < chosen.size(); ++i) {
    right += chosen[i] > rejected[i];
    margin += chosen[i] - rejected[i];
    sum += chosen[i] + rejected[i];
    const auto [low, high] = std::minmax(chosen[i], rejected[i]);
    lowest = i == 0 ? low : std::min(lowest, low);
    highest = i == 0 ? high : std::max(highest, high);
  }
  return {{"min_reward", lowest},
          {"mean_reward", sum / (2.0 * n)},
          {"max_reward", highest},
          {"accuracy", right / n},
          {"margin", margin / n}};
}

StepLoss process_reward_loss(std::span<const double> logits, std::span<const uint8_t> labels, int64_t labelled) {
  CHECK(logits.size() == 2 * labels.size());
  const double count =
      std::max<double>(1, static_cast<double>(labelled > 0 ? labelled : static_cast<int64_t>(labels.size())));
  StepLoss out;
  out.d_logits.resize(logits.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    const size_t right = 2 * i + (labels[i] != 0), wrong = 2 * i + (labels[i] == 0);
    const Curve loss = neg_log_sigmoid(logits[right] - logits[wrong]);
    out.loss += loss.value / count;
    out.d_logits[right] = loss.slope / count;
    out.d_logits[wrong] = -loss.slope / count;
  }
  return out;
}

}  // namespace candor::algorithms
