#include "belief/evidence.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/math.h"

namespace candor::belief {

namespace {

// Sums of squares of the answers (1 is a hit) of one sign's controls, between and within items, their degrees of
// freedom, and the mean number of answers as the estimator of unequal groups has it.
struct Variance {
  double between = 0, between_freedom = 0, within = 0, within_freedom = 0, answers = 0;
};

Variance analysis_of_variance(std::span<const Control* const> controls, bool sign) {
  struct Item {
    double asked = 0, share = 0;  // of its answers that are hits
  };
  std::vector<Item> items;
  double answers = 0, squares = 0, hits = 0;
  for (const Control* control : controls) {
    if (believes(control->kind) != sign) continue;
    Item item;
    for (const QuestionAnswer& answer : control->answers.questions) {
      if (std::isnan(answer.log_odds)) continue;
      item.asked += 1;
      item.share += answer.log_odds > 0;
    }
    if (item.asked == 0) continue;
    answers += item.asked;
    squares += item.asked * item.asked;
    hits += item.share;
    item.share /= item.asked;
    items.push_back(item);
  }
  Variance out;
  if (items.size() < 2) return out;
  const double mean = hits / answers;
  for (const Item& item : items) {
    out.between += item.asked * (item.share - mean) * (item.share - mean);
    out.within += item.asked * item.share * (1 - item.share);
  }
  out.between_freedom = static_cast<double>(items.size() - 1);
  out.within_freedom = answers - static_cast<double>(items.size());
  out.answers = (answers - squares / answers) / out.between_freedom;
  return out;
}

double correlation(std::span<const Control* const> controls) {
  const Variance a = analysis_of_variance(controls, true), b = analysis_of_variance(controls, false);
  const double between_freedom = a.between_freedom + b.between_freedom;
  const double within_freedom = a.within_freedom + b.within_freedom;
  if (!(between_freedom > 0 && within_freedom > 0)) return 0;
  const double between = (a.between + b.between) / between_freedom, within = (a.within + b.within) / within_freedom;
  const double m = (a.answers * a.between_freedom + b.answers * b.between_freedom) / between_freedom;
  const double total = between + (m - 1) * within;
  return total > 0 ? std::clamp((between - within) / total, 0.0, 1.0) : 0.0;
}

double smoothed(int64_t hits, int64_t asked) {
  return (static_cast<double>(hits) + 0.5) / (static_cast<double>(asked) + 1);
}

}  // namespace

EvidenceWeights evidence_weights(std::span<const Control* const> controls) {
  EvidenceWeights out;
  for (const Control* control : controls) {
    const bool positive = believes(control->kind);
    for (const QuestionAnswer& answer : control->answers.questions) {
      if (std::isnan(answer.log_odds)) continue;
      KindRates& rates = out.kinds[static_cast<size_t>(answer.kind)];
      ++(positive ? rates.positive_asked : rates.negative_asked);
      if (answer.log_odds > 0) ++(positive ? rates.positive_hits : rates.negative_hits);
    }
  }
  for (KindRates& rates : out.kinds) {
    rates.beta = smoothed(rates.positive_hits, rates.positive_asked);
    rates.eta = smoothed(rates.negative_hits, rates.negative_asked);
    if (rates.beta <= rates.eta) continue;
    rates.hit = exact_log(rates.beta / rates.eta);
    rates.miss = exact_log((1 - rates.beta) / (1 - rates.eta));
  }
  out.correlation = correlation(controls);
  return out;
}

double evidence(const ItemAnswers& answers, const EvidenceWeights& weights) {
  double sum = 0, asked = 0;
  for (const QuestionAnswer& answer : answers.questions) {
    if (std::isnan(answer.log_odds)) continue;
    const KindRates& rates = weights.kinds[static_cast<size_t>(answer.kind)];
    sum += answer.log_odds > 0 ? rates.hit : rates.miss;
    asked += 1;
  }
  return asked == 0 ? 0.0 : sum / (1 + (asked - 1) * weights.correlation);
}

}  // namespace candor::belief
