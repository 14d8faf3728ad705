#include "belief/estimate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>

#include "base/check.h"

namespace candor::belief {

namespace {

// Outcomes to be drawn again: items that share a draw have the same place. Behind the items one half of either outcome.
struct Outcomes {
  std::vector<size_t> place;
  std::vector<uint8_t> good;
  size_t places = 0;

  statistics::Resampled resampled() const { return {static_cast<int64_t>(places), 2}; }
  double share(const std::vector<double>& weights) const {
    double sum = weights[places], of = weights[places] + weights[places + 1];
    for (size_t i = 0; i < good.size(); ++i) {
      of += weights[place[i]];
      if (good[i]) sum += weights[place[i]];
    }
    return sum / of;
  }
};

Outcomes outcomes_of(std::span<const uint8_t> called) {
  Outcomes out;
  out.good.assign(called.begin(), called.end());
  for (size_t i = 0; i < called.size(); ++i) out.place.push_back(i);
  out.places = called.size();
  return out;
}

// Of one sign's controls: called as they should be.
Outcomes outcomes_of(const ControlCalls& calls, bool sign) {
  Outcomes out;
  std::map<std::string_view, size_t> places;
  for (size_t i = 0; i < calls.controls.size(); ++i) {
    if (believes(calls.controls[i]->kind) != sign) continue;
    out.place.push_back(places.emplace(calls.controls[i]->answers.id, places.size()).first->second);
    out.good.push_back((calls.called[i] != 0) == sign);
  }
  out.places = places.size();
  return out;
}

statistics::Interval within_0_and_1(statistics::Interval interval) {
  return {std::clamp(interval.low, 0.0, 1.0), std::clamp(interval.high, 0.0, 1.0)};
}

}  // namespace

Share share(int64_t count, int64_t of, double confidence) {
  return {count, of, of > 0 ? static_cast<double>(count) / static_cast<double>(of) : kNotAsked,
          statistics::clopper_pearson(count, of, confidence)};
}

ControlCalls call_controls(std::vector<const Control*> controls, const PosteriorOptions& options, double confidence) {
  ControlCalls out;
  out.posterior = held_out_posteriors(controls, options);
  int64_t positive = 0, negative = 0, found = 0, rejected = 0;
  for (size_t i = 0; i < controls.size(); ++i) {
    const bool called = out.posterior[i] >= 0.5;
    out.called.push_back(called);
    if (believes(controls[i]->kind)) {
      ++positive;
      found += called;
    } else {
      ++negative;
      rejected += !called;
    }
  }
  out.controls = std::move(controls);
  out.sensitivity = share(found, positive, confidence);
  out.specificity = share(rejected, negative, confidence);
  return out;
}

double rogan_gladen(double called, double sensitivity, double specificity) {
  const double informed = sensitivity + specificity - 1;
  return informed > 0 ? (called + specificity - 1) / informed : kNotAsked;
}

Estimate estimate(std::span<const uint8_t> called, const ControlCalls& controls,
                  const statistics::BootstrapOptions& options) {
  CHECK(!called.empty());
  const Outcomes said = outcomes_of(called), positive = outcomes_of(controls, true),
                 negative = outcomes_of(controls, false);
  const double n = static_cast<double>(called.size()), se = controls.sensitivity.value, sp = controls.specificity.value,
               informed = se + sp - 1;
  CHECK(informed > 0);
  const double p = static_cast<double>(std::count(called.begin(), called.end(), 1)) / n;
  Estimate out;
  out.uncorrected = rogan_gladen(p, se, sp);
  out.believed = std::clamp(out.uncorrected, 0.0, 1.0);
  const auto variance = [](double share, double of) { return share * (1 - share) / of; };
  const double believed = out.believed;
  out.standard_error =
      std::sqrt(variance(p, n) + believed * believed * variance(se, static_cast<double>(controls.sensitivity.of)) +
                (1 - believed) * (1 - believed) * variance(sp, static_cast<double>(controls.specificity.of))) /
      informed;
  const std::vector<statistics::Resampled> samples{said.resampled(), positive.resampled(), negative.resampled()};
  out.interval = within_0_and_1(statistics::bayesian_bootstrap(
      samples,
      [&](std::span<const std::vector<double>> weights) {
        return rogan_gladen(said.share(weights[0]), positive.share(weights[1]), negative.share(weights[2]));
      },
      options));
  return out;
}

}  // namespace candor::belief
