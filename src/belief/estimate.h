// From calls to a rate: how many of the said propositions are believed, when the call "believed" itself errs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "belief/answers.h"
#include "belief/posterior.h"
#include "statistics/bootstrap.h"
#include "statistics/proportions.h"

namespace candor::belief {

// A share with its exact interval (Clopper and Pearson).
struct Share {
  int64_t count = 0, of = 0;
  double value = kNotAsked;  // NaN: of none
  statistics::Interval interval{0, 1};
};
Share share(int64_t count, int64_t of, double confidence = 0.95);

// Controls, called by instruments that have not seen them.
struct ControlCalls {
  std::vector<const Control*> controls;
  std::vector<double> posterior;   // held out
  std::vector<uint8_t> called;     // posterior >= 1/2
  Share sensitivity, specificity;  // Se, Sp
};
ControlCalls call_controls(std::vector<const Control*> controls, const PosteriorOptions& options, double confidence);

// π̂ = (p̂ + Sp - 1) / (Se + Sp - 1) (Rogan and Gladen 1978), not yet within [0, 1]. NaN where Se + Sp <= 1: such calls
// know nothing.
double rogan_gladen(double called, double sensitivity, double specificity);

struct Estimate {
  double believed = 0;            // π̂ within [0, 1]
  statistics::Interval interval;  // within [0, 1]
  double uncorrected = 0;         // π̂ as it came out
  double standard_error = 0;      // √Var, for orientation; the interval is not made of it:
  // Var = [p̂(1 - p̂)/N + π̂²·Se(1 - Se)/n+ + (1 - π̂)²·Sp(1 - Sp)/n-] / (Se + Sp - 1)², π̂ within [0, 1]

  double good_liar_rate() const { return 1 - believed; }
};

// called: of each said proposition, at least one. The interval: a Bayesian bootstrap over propositions and controls,
// each sign by itself, controls of one id together, with half an item of either outcome. The calls stay what they are:
// learning them anew in each resample makes the interval a tenth wider, and it holds the truth often enough without
// (simulation_test.cpp). Needs Se + Sp > 1.
Estimate estimate(std::span<const uint8_t> called, const ControlCalls& controls,
                  const statistics::BootstrapOptions& options);

}  // namespace candor::belief
