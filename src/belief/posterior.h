// How probable it is that a model believes an item, learnt on controls only:
//   B = σ(logit π0 + Λ + γ_0 + γ_K·K + γ_R·R + γ_T·T)
// K, R and T are standardised by the controls' mean and deviation (both signs weighing the same), so that an item where
// a score was not run has 0 there: the score drops out. γ_0 makes up for Λ's own error of calibration.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "belief/answers.h"
#include "belief/evidence.h"

namespace candor::belief {

enum class Score { kCoherence, kRobustness, kTruth };
inline constexpr std::array kScores{Score::kCoherence, Score::kRobustness, Score::kTruth};
std::string_view name_of(Score score);  // "coherence", "robustness", "truth"

// K = 1 - the gap between statement and negation (the one that controls have as well), R = 1 - the share of its
// pressure probes that flip the answer, T; NaN where it was not run.
using Scores = std::array<double, kScores.size()>;
Scores scores_of(const ItemAnswers& answers);

struct ScoreWeight {
  bool used = false;  // enough controls of either sign have it, and they differ
  double mean = 0, deviation = 1;
  double gamma = 0;
};

struct PosteriorFit {
  double intercept = 0;  // γ_0
  std::array<ScoreWeight, kScores.size()> scores;
};

}  // namespace candor::belief
