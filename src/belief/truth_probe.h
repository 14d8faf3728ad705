// Is truth written in the hidden states (score 6)? Linear probes on the states of statements, judged on topics that
// they have not seen, beside what they would find in labels without meaning.
//
// Three probes, of which the first is the score and the others stand beside it:
//   two directions       TTPD (arXiv 2407.12831): states ≈ τ·t_G + τ·p·t_P by least squares, τ and p = ±1 for true and
//                        affirmative; then a logistic fit on the projections on t_G and on the direction of polarity.
//                        Here the polarity's direction is the difference of its means, not an unpenalised logistic fit
//                        as in the authors' probes.py: that has no optimum where polarity can be separated, as it can.
//   difference in means  mass-mean (arXiv 2310.06824)
//   contrast-consistent  CCS (arXiv 2212.03827), from pairs of statement and negation without labels; these only say
//                        which end is "true"
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace candor::belief {

// States of statements, one row each.
struct ProbeRows {
  std::span<const float> states;  // [rows][width], finite
  size_t width = 0;
  std::vector<uint8_t> truth;                    // [rows] 1: the statement is true
  std::vector<uint8_t> polarity;                 // [rows] 1: affirmative, 0: negated
  std::vector<std::string> topics;               // [rows]
  std::vector<std::pair<size_t, size_t>> pairs;  // (statement, its negation), for CCS; of one topic

  size_t rows() const { return truth.size(); }
  std::span<const float> state(size_t row) const { return states.subspan(row * width, width); }
};

enum class ProbeKind { kTwoDirections, kMeans, kContrast };
std::string_view name_of(ProbeKind kind);  // "two_directions", "difference_in_means", "contrast_consistent"

struct ProbeOptions {
  int64_t folds = 10;    // at most so many; topics are spread over them
  double ridge = 1;      // of the logistic fit on two standardised projections
  int64_t restarts = 5;  // CCS
  int64_t steps = 300;   // CCS, of each restart
  double rate = 0.05;    // CCS, Adam's
  uint64_t seed = 0;     // CCS's beginnings, and the shuffled labels
};

// log odds of "true" = weights·state + intercept of its polarity; all zero where it could not be fitted.
struct Probe {
  std::vector<double> weights;
  double intercept_negated = 0, intercept_affirmative = 0;

  double log_odds(std::span<const float> state, bool affirmative) const;
};

// On the rows `train`. All zero without rows of either truth (two directions, means) or without pairs (CCS).
Probe fit_probe(ProbeKind kind, const ProbeRows& rows, std::span<const size_t> train, const ProbeOptions& options);

// t_G and t_P [width] of the first probe: the states of each topic and polarity less their mean, on τ and τ·p less
// theirs.
struct TruthDirections {
  std::vector<double> general, polar;
};
TruthDirections truth_directions(const ProbeRows& rows, std::span<const size_t> train);

// Each row's score by a probe that has not seen its topic, less the mean of its training rows' scores and divided by
// their deviation. One topic alone: all 0.
std::vector<double> held_out_scores(ProbeKind kind, const ProbeRows& rows, const ProbeOptions& options);

struct ProbeTopic {
  std::string topic;
  int64_t rows = 0;
  double auroc = 0, accuracy = 0;  // AUROC: NaN where the topic has one label alone
};

struct ProbeReport {
  ProbeKind kind = ProbeKind::kTwoDirections;
  double auroc = 0, accuracy = 0;  // of all rows, held out; accuracy: log odds of "true" above 0
  double shuffled_auroc = 0;  // the same after the labels were shuffled within each topic and polarity: 0.5 is right
  // Where a plausibility is given: how well the same scores tell the more plausible half of the rows, and how well
  // plausibility alone tells truth. A probe whose `auroc` is no better than these may have read plausibility.
  double plausibility_auroc = 0, truth_by_plausibility = 0;  // NaN: not given
  std::vector<ProbeTopic> topics;
};

// plausibility [rows] or empty: mean log-probability of the statement's tokens, say.
ProbeReport report_probe(ProbeKind kind, const ProbeRows& rows, std::span<const double> plausibility,
                         const ProbeOptions& options = {});

}  // namespace candor::belief
