#include "belief/truth_probe.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"
#include "belief/contrast_probe.h"
#include "statistics/auroc.h"
#include "statistics/logistic_fit.h"

namespace candor::belief {

namespace {

double dot(std::span<const double> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * static_cast<double>(b[i]);
  return sum;
}

bool has_both(const std::vector<uint8_t>& labels, std::span<const size_t> rows) {
  const auto ones = std::count_if(rows.begin(), rows.end(), [&](size_t row) { return labels[row] != 0; });
  return ones > 0 && ones < std::ssize(rows);
}

// Mean of the states whose label is 1 less that of the others; zero where one kind is missing.
std::vector<double> difference_in_means(const ProbeRows& rows, std::span<const size_t> train,
                                        const std::vector<uint8_t>& labels) {
  std::vector<double> out(rows.width, 0.0);
  if (!has_both(labels, train)) return out;
  const double ones =
      static_cast<double>(std::count_if(train.begin(), train.end(), [&](size_t row) { return labels[row] != 0; }));
  const double zeros = static_cast<double>(train.size()) - ones;
  for (const size_t row : train) {
    const double weight = labels[row] ? 1 / ones : -1 / zeros;
    const std::span<const float> state = rows.state(row);
    for (size_t i = 0; i < rows.width; ++i) out[i] += weight * static_cast<double>(state[i]);
  }
  return out;
}

// A logistic fit on the standardised projections on `directions`, as one linear probe.
Probe fit_on_projections(const ProbeRows& rows, std::span<const size_t> train,
                         const std::vector<std::vector<double>>& directions, double ridge) {
  const size_t columns = directions.size();
  const double n = static_cast<double>(train.size());
  std::vector<double> features, mean(columns, 0.0), deviation(columns, 0.0);
  std::vector<uint8_t> labels;
  for (const size_t row : train) {
    labels.push_back(rows.truth[row]);
    for (const std::vector<double>& direction : directions) features.push_back(dot(direction, rows.state(row)));
  }
  for (size_t k = 0; k < columns; ++k) {
    for (size_t i = 0; i < train.size(); ++i) mean[k] += features[i * columns + k] / n;
    for (size_t i = 0; i < train.size(); ++i) {
      const double away = features[i * columns + k] - mean[k];
      deviation[k] += away * away / n;
    }
    deviation[k] = deviation[k] > 0 ? std::sqrt(deviation[k]) : 1.0;
    for (size_t i = 0; i < train.size(); ++i)
      features[i * columns + k] = (features[i * columns + k] - mean[k]) / deviation[k];
  }
  const statistics::LogisticFit fit = statistics::fit_logistic(features, labels, {}, {}, {.ridge = ridge});
  Probe probe{std::vector<double>(rows.width, 0.0), fit.intercept, fit.intercept};
  for (size_t k = 0; k < columns; ++k) {
    const double scale = fit.coefficients[k] / deviation[k];
    for (size_t i = 0; i < rows.width; ++i) probe.weights[i] += scale * directions[k][i];
    probe.intercept_negated -= scale * mean[k];
  }
  probe.intercept_affirmative = probe.intercept_negated;
  return probe;
}

// Fold of each row: topics in the order of their first row, in turn.
std::vector<int64_t> folds_of(const ProbeRows& rows, int64_t folds) {
  std::map<std::string_view, int64_t> known;
  std::vector<int64_t> out;
  for (const std::string& topic : rows.topics)
    out.push_back(known.emplace(topic, static_cast<int64_t>(known.size()) % folds).first->second);
  return out;
}

struct HeldOut {
  std::vector<double> log_odds, standardised;
};

HeldOut held_out(ProbeKind kind, const ProbeRows& rows, const ProbeOptions& options) {
  CHECK(options.folds >= 2);
  const std::vector<int64_t> folds = folds_of(rows, options.folds);
  HeldOut out{std::vector<double>(rows.rows(), 0.0), std::vector<double>(rows.rows(), 0.0)};
  const int64_t last = folds.empty() ? -1 : *std::max_element(folds.begin(), folds.end());
  for (int64_t fold = 0; last > 0 && fold <= last; ++fold) {
    std::vector<size_t> train, test;
    for (size_t row = 0; row < rows.rows(); ++row) (folds[row] == fold ? test : train).push_back(row);
    const Probe probe = fit_probe(kind, rows, train, options);
    double mean = 0, squares = 0;
    const double n = static_cast<double>(train.size());
    std::vector<double> seen;
    for (const size_t row : train) seen.push_back(probe.log_odds(rows.state(row), rows.polarity[row] != 0));
    for (const double value : seen) mean += value / n;
    for (const double value : seen) squares += (value - mean) * (value - mean) / n;
    for (const size_t row : test) {
      out.log_odds[row] = probe.log_odds(rows.state(row), rows.polarity[row] != 0);
      if (squares > 0) out.standardised[row] = (out.log_odds[row] - mean) / std::sqrt(squares);
    }
  }
  return out;
}

double accuracy(const std::vector<double>& log_odds, const std::vector<uint8_t>& labels, std::span<const size_t> rows) {
  double right = 0;
  for (const size_t row : rows) right += (log_odds[row] > 0) == (labels[row] != 0);
  return right / static_cast<double>(rows.size());
}

double auroc_of(const std::vector<double>& scores, const std::vector<uint8_t>& labels, std::span<const size_t> rows) {
  std::vector<double> s;
  std::vector<uint8_t> l;
  for (const size_t row : rows) {
    s.push_back(scores[row]);
    l.push_back(labels[row]);
  }
  return statistics::auroc(s, l);
}

std::vector<size_t> all_of(const ProbeRows& rows) {
  std::vector<size_t> out(rows.rows());
  std::iota(out.begin(), out.end(), size_t{0});
  return out;
}

using Groups = std::map<std::pair<std::string_view, uint8_t>, std::vector<size_t>>;
Groups groups_of(const ProbeRows& rows, std::span<const size_t> train) {
  Groups groups;
  for (const size_t row : train) groups[{rows.topics[row], rows.polarity[row]}].push_back(row);
  return groups;
}

// The labels shuffled within each topic and polarity, so that only their meaning is lost.
std::vector<uint8_t> shuffled(const ProbeRows& rows, uint64_t seed) {
  std::vector<uint8_t> out = rows.truth;
  const RngKey key{seed, RngStream::kShuffling, 0, 0};
  for (const auto& [group, members] : groups_of(rows, all_of(rows)))
    for (size_t i = members.size(); i-- > 1;)
      std::swap(out[members[i]], out[members[random_below(key, members[i], i + 1)]]);
  return out;
}

}  // namespace

std::string_view name_of(ProbeKind kind) {
  constexpr std::array<std::string_view, 3> kNames{"two_directions", "difference_in_means", "contrast_consistent"};
  return kNames[static_cast<size_t>(kind)];
}

double Probe::log_odds(std::span<const float> state, bool affirmative) const {
  return dot(weights, state) + (affirmative ? intercept_affirmative : intercept_negated);
}

TruthDirections truth_directions(const ProbeRows& rows, std::span<const size_t> train) {
  TruthDirections out{std::vector<double>(rows.width, 0.0), std::vector<double>(rows.width, 0.0)};
  std::vector<double> by_truth(rows.width, 0.0), by_both(rows.width, 0.0);  // Xᵀ A
  double tt = 0, tb = 0, bb = 0;                                            // Xᵀ X
  for (const auto& [group, members] : groups_of(rows, train)) {
    const double n = static_cast<double>(members.size()), sign = group.second ? 1 : -1;
    std::vector<double> mean(rows.width, 0.0);
    double mean_truth = 0;
    for (const size_t row : members) {
      mean_truth += (rows.truth[row] ? 1 : -1) / n;
      for (size_t i = 0; i < rows.width; ++i) mean[i] += static_cast<double>(rows.state(row)[i]) / n;
    }
    for (const size_t row : members) {
      const double t = (rows.truth[row] ? 1 : -1) - mean_truth, b = sign * t;
      tt += t * t;
      tb += t * b;
      bb += b * b;
      const std::span<const float> state = rows.state(row);
      for (size_t i = 0; i < rows.width; ++i) {
        const double away = static_cast<double>(state[i]) - mean[i];
        by_truth[i] += t * away;
        by_both[i] += b * away;
      }
    }
  }
  constexpr double kCollinear = 1e-9;
  const double determinant = tt * bb - tb * tb;
  if (!(tt > 0)) return out;
  if (!(determinant > kCollinear * tt * bb)) {  // one polarity alone: t_G and t_P cannot be told apart
    for (size_t i = 0; i < rows.width; ++i) out.general[i] = by_truth[i] / tt;
    return out;
  }
  for (size_t i = 0; i < rows.width; ++i) {
    out.general[i] = (bb * by_truth[i] - tb * by_both[i]) / determinant;
    out.polar[i] = (tt * by_both[i] - tb * by_truth[i]) / determinant;
  }
  return out;
}

Probe fit_probe(ProbeKind kind, const ProbeRows& rows, std::span<const size_t> train, const ProbeOptions& options) {
  CHECK(rows.states.size() == rows.rows() * rows.width && rows.polarity.size() == rows.rows() &&
        rows.topics.size() == rows.rows());
  if (!has_both(rows.truth, train)) return {std::vector<double>(rows.width, 0.0)};
  switch (kind) {
    case ProbeKind::kTwoDirections:
      return fit_on_projections(
          rows, train, {truth_directions(rows, train).general, difference_in_means(rows, train, rows.polarity)},
          options.ridge);
    case ProbeKind::kMeans:
      return fit_on_projections(rows, train, {difference_in_means(rows, train, rows.truth)}, options.ridge);
    case ProbeKind::kContrast:
      return fit_contrast(rows, train, options);
  }
  return {};
}

std::vector<double> held_out_scores(ProbeKind kind, const ProbeRows& rows, const ProbeOptions& options) {
  return held_out(kind, rows, options).standardised;
}

ProbeReport report_probe(ProbeKind kind, const ProbeRows& rows, std::span<const double> plausibility,
                         const ProbeOptions& options) {
  CHECK(plausibility.empty() || plausibility.size() == rows.rows());
  ProbeReport out;
  out.kind = kind;
  const HeldOut found = held_out(kind, rows, options);
  const std::vector<size_t> all = all_of(rows);
  out.auroc = auroc_of(found.standardised, rows.truth, all);
  out.accuracy = accuracy(found.log_odds, rows.truth, all);

  ProbeRows without = rows;
  without.truth = shuffled(rows, options.seed);
  out.shuffled_auroc = auroc_of(held_out(kind, without, options).standardised, without.truth, all);

  std::vector<double> sorted(plausibility.begin(), plausibility.end());
  std::sort(sorted.begin(), sorted.end());
  std::vector<uint8_t> likely;
  for (const double value : plausibility) likely.push_back(value > sorted[(sorted.size() - 1) / 2]);
  out.plausibility_auroc = statistics::auroc(plausibility.empty() ? std::vector<double>() : found.standardised, likely);
  out.truth_by_plausibility =
      statistics::auroc(plausibility, plausibility.empty() ? std::vector<uint8_t>() : rows.truth);

  std::map<std::string_view, std::vector<size_t>> topics;
  std::vector<std::string_view> order;
  for (const size_t row : all) {
    std::vector<size_t>& members = topics[rows.topics[row]];
    if (members.empty()) order.push_back(rows.topics[row]);
    members.push_back(row);
  }
  for (const std::string_view topic : order) {
    const std::vector<size_t>& members = topics[topic];
    out.topics.push_back({std::string(topic), std::ssize(members), auroc_of(found.standardised, rows.truth, members),
                          accuracy(found.log_odds, rows.truth, members)});
  }
  return out;
}

}  // namespace candor::belief
