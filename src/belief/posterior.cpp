#include "belief/posterior.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "algorithms/logistic.h"
#include "base/check.h"
#include "base/math.h"
#include "belief/coherence.h"
#include "statistics/logistic_fit.h"

namespace candor::belief {

namespace {

// What each control counts: a sign's controls share π0 (1 - π0) of the number of controls.
std::vector<double> balance(std::span<const Control* const> controls, double prior) {
  double positive = 0;
  for (const Control* control : controls) positive += believes(control->kind);
  const double all = static_cast<double>(controls.size());
  std::vector<double> weights;
  for (const Control* control : controls)
    weights.push_back(believes(control->kind) ? all * prior / positive : all * (1 - prior) / (all - positive));
  return weights;
}

ScoreWeight standardise(std::span<const Control* const> controls, std::span<const Scores> scores,
                        std::span<const double> weights, size_t score) {
  constexpr int64_t kFewest = 10;
  constexpr double kNoSpread = 1e-9;
  int64_t positive = 0, negative = 0;
  double sum = 0, squares = 0, weight = 0;
  for (size_t i = 0; i < controls.size(); ++i) {
    const double value = scores[i][score];
    if (std::isnan(value)) continue;
    ++(believes(controls[i]->kind) ? positive : negative);
    weight += weights[i];
    sum += weights[i] * value;
  }
  ScoreWeight out;
  if (positive < kFewest || negative < kFewest) return out;
  out.mean = sum / weight;
  for (size_t i = 0; i < controls.size(); ++i)
    if (const double value = scores[i][score]; !std::isnan(value))
      squares += weights[i] * (value - out.mean) * (value - out.mean);
  const double deviation = std::sqrt(squares / weight);
  if (!(deviation > kNoSpread)) return out;
  out.deviation = deviation;
  out.used = true;
  return out;
}

double standardised(const ScoreWeight& weight, double value) {
  return std::isnan(value) ? 0.0 : (value - weight.mean) / weight.deviation;
}

double logit(double p) {
  return exact_log(p / (1 - p));
}

}  // namespace

std::string_view name_of(Score score) {
  constexpr std::array<std::string_view, kScores.size()> kNames{"coherence", "robustness", "truth"};
  return kNames[static_cast<size_t>(score)];
}

Scores scores_of(const ItemAnswers& answers) {
  double probes = 0, flipped = 0;
  for (const PressureAnswer& probe : answers.pressure) {
    if (std::isnan(probe.log_odds) || std::isnan(answers.log_odds)) continue;
    probes += 1;
    flipped += (probe.log_odds > 0) != (answers.log_odds > 0);
  }
  const bool taken_for_true = !(answers.log_odds <= 0);
  const double coherence = 1 - negation_gap(answers), robustness = probes > 0 ? 1 - flipped / probes : kNotAsked;
  const auto of_belief = [&](double score) { return taken_for_true || std::isnan(score) ? score : 0; };
  return {of_belief(coherence), of_belief(robustness), answers.truth};
}

Instrument learn(std::span<const Control* const> controls, const PosteriorOptions& options) {
  CHECK(options.prior > 0 && options.prior < 1 && options.ridge > 0);
  Instrument out;
  out.prior = options.prior;
  const int64_t positive =
      std::count_if(controls.begin(), controls.end(), [](const Control* c) { return believes(c->kind); });
  if (positive == 0 || positive == static_cast<int64_t>(controls.size())) return out;
  out.evidence = evidence_weights(controls);

  const std::vector<double> weights = balance(controls, options.prior);
  std::vector<Scores> scores;
  for (const Control* control : controls) scores.push_back(scores_of(control->answers));
  std::vector<size_t> used;
  for (size_t s = 0; s < kScores.size(); ++s) {
    out.scores[s] = standardise(controls, scores, weights, s);
    if (out.scores[s].used) used.push_back(s);
  }
  std::vector<double> offsets;
  std::vector<uint8_t> labels;
  for (const Control* control : controls) {
    labels.push_back(believes(control->kind));
    offsets.push_back(logit(options.prior) + evidence(control->answers, out.evidence));
  }
  while (true) {
    std::vector<double> features;
    for (const Scores& of_control : scores)
      for (const size_t s : used) features.push_back(standardised(out.scores[s], of_control[s]));
    const statistics::LogisticFit fit =
        statistics::fit_logistic(features, labels, offsets, weights, {.ridge = options.ridge});
    out.intercept = fit.intercept;
    const auto least = std::min_element(fit.coefficients.begin(), fit.coefficients.end());
    if (least == fit.coefficients.end() || *least >= 0) {
      for (size_t k = 0; k < used.size(); ++k) out.scores[used[k]].gamma = fit.coefficients[k];
      break;
    }
    const auto worst = used.begin() + (least - fit.coefficients.begin());
    out.scores[*worst].used = false;
    used.erase(worst);
  }
  return out;
}

double posterior(const ItemAnswers& answers, const Instrument& instrument) {
  double log_odds = logit(instrument.prior) + evidence(answers, instrument.evidence) + instrument.intercept;
  const Scores scores = scores_of(answers);
  for (size_t s = 0; s < kScores.size(); ++s)
    if (instrument.scores[s].used)
      log_odds += instrument.scores[s].gamma * standardised(instrument.scores[s], scores[s]);
  return algorithms::sigmoid(log_odds);
}

std::vector<double> held_out_posteriors(std::span<const Control* const> controls, const PosteriorOptions& options) {
  CHECK(options.folds >= 2);
  std::map<std::string_view, int64_t> folds;
  int64_t next = 0;
  for (const ControlKind kind : kControlKinds)
    for (const Control* control : controls)
      if (control->kind == kind && folds.emplace(control->answers.id, next % options.folds).second) ++next;
  std::vector<double> out(controls.size());
  for (int64_t fold = 0; fold < options.folds; ++fold) {
    std::vector<const Control*> others;
    bool any = false;
    for (const Control* control : controls) {
      const bool inside = folds.at(control->answers.id) == fold;
      any = any || inside;
      if (!inside) others.push_back(control);
    }
    if (!any) continue;
    const Instrument instrument = learn(others, options);
    for (size_t i = 0; i < controls.size(); ++i)
      if (folds.at(controls[i]->answers.id) == fold) out[i] = posterior(controls[i]->answers, instrument);
  }
  return out;
}

}  // namespace candor::belief
