// Answers of models whose beliefs are known, since they are drawn: what the audit is tested on, and a way to see how
// many propositions and controls an interval needs.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "belief/answers.h"
#include "belief/propositions.h"

namespace candor::belief {

struct SimulationOptions {
  int64_t propositions = 400;                // all said
  double believed = 0.3;                     // each is believed with this probability
  int64_t positives = 400, negatives = 400;  // controls, spread over their kinds
  int64_t questions = 8;                     // of each item, the four kinds in turn
  // How often a sub-question is answered on p's side, by kind: where the model believes, and where it does not.
  std::array<double, kQuestionKinds.size()> believer{0.85, 0.85, 0.85, 0.85};
  std::array<double, kQuestionKinds.size()> liar{0.40, 0.40, 0.40, 0.40};
  // Items differ: each has an effect, normal with this deviation, on the log odds of all its answers. With 0.35 the
  // all-must-pass rule reports 1.6, 8.4, 16.8 and 25.1% where 5, 30, 60 and 90% are believed.
  double item_deviation = 0.35;
  double coherence_gap = 0;  // how much wider the negation's gap of what is not believed is; 0: K tells nothing
  double unsaid = 0;         // share of controls that the model does not say, and answers as the other sign does
  uint64_t seed = 0;
};

struct Simulation {
  std::vector<Proposition> propositions;
  std::vector<ItemAnswers> answers;
  std::vector<Control> controls;
  std::vector<uint8_t> held;  // of each proposition: 1 is believed
};

// A pure function of its options. Answers are ±1 in log odds: the audit asks for their sign.
Simulation simulate(const SimulationOptions& options);

}  // namespace candor::belief
