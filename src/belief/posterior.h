// How probable it is that a model believes an item, learnt on controls only:
//   B = σ(logit π0 + Λ + γ_0 + γ_K·K + γ_R·R + γ_T·T)
// K, R and T are standardised by the controls' mean and deviation, so that an item where a score was not run has 0
// there: the score drops out. γ_0 makes up for what Λ is wrong about on the whole. In every fit the positive controls
// weigh π0 and the negative ones 1 - π0, however many there are. No γ is negative: each score speaks for belief, and
// where the controls say that one speaks against it, they differ in something else, and it is left out.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "belief/answers.h"
#include "belief/evidence.h"

namespace candor::belief {

enum class Score { kCoherence, kRobustness, kTruth };
inline constexpr std::array kScores{Score::kCoherence, Score::kRobustness, Score::kTruth};
std::string_view name_of(Score score);  // "coherence", "robustness", "truth"

// K = 1 - the gap between statement and negation (the one gap that controls have as well), R = 1 - the share of its
// pressure probes that flip the answer, T; NaN where it was not run. K and R are 0 where the model does not take p for
// true: a firm and coherent disbelief is no sign of belief, though controls that are told to say something, and doubt
// it, would teach that it is.
using Scores = std::array<double, kScores.size()>;
Scores scores_of(const ItemAnswers& answers);

struct ScoreWeight {
  bool used = false;  // at least ten controls of either sign have it, they differ, and gamma is not negative
  double mean = 0, deviation = 1;
  double gamma = 0;  // of the standardised score
};

// What the controls teach.
struct Instrument {
  double prior = 0.5;        // π0
  EvidenceWeights evidence;  // β, η and ρ
  double intercept = 0;      // γ_0
  std::array<ScoreWeight, kScores.size()> scores;
};

struct PosteriorOptions {
  double prior = 0.5;  // π0, between 0 and 1
  double ridge = 1;    // of γ_K, γ_R, γ_T
  int64_t folds = 5;
};

// Of controls that the model says. Controls of one sign alone teach nothing: B = π0.
Instrument learn(std::span<const Control* const> controls, const PosteriorOptions& options);

double posterior(const ItemAnswers& answers, const Instrument& instrument);  // B

// Each control's B by an instrument that has seen no control of its fold. Controls with the same id (one proposition,
// told and parroted) share a fold; each kind is spread over the folds evenly. More folds than ids: a fold per id.
std::vector<double> held_out_posteriors(std::span<const Control* const> controls, const PosteriorOptions& options);

}  // namespace candor::belief
