// Losses of reward models on scores: Bradley-Terry on pairs (arXiv 2203.02155) with a margin (2307.09288) and a
// centring term (2312.09244), and the classification of steps that a process reward model learns. Formulas and defaults
// are TRL's (reward 1.16, process reward 1.13).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "algorithms/metrics.h"

namespace candor::algorithms {

struct RewardPairs {
  std::span<const double> chosen, rejected;  // [B] scores
  std::span<const double> margins = {};      // [B] by how much the chosen score should be larger; empty: 0
  int64_t pairs = 0;                         // of the step, the mean's divisor; 0: these
};

struct RewardLoss {
  std::vector<double> losses;                // [B] with their divisor
  std::vector<double> d_chosen, d_rejected;  // [B] d loss / d score
  double loss() const;                       // their sum, in order
};

// Pure. ℓ(r_c - r_r - margin) + centring·(r_c + r_r)², mean over pairs, ℓ(x) = -ln σ(x). centring: TRL's
// center_rewards_coefficient, 0 where it is not given.
RewardLoss reward_loss(const RewardPairs& pairs, double centring = 0.0);

// accuracy (share of pairs with r_c > r_r; a tie is wrong), margin (mean r_c - r_r), min_reward, mean_reward,
// max_reward over both sides: TRL's, none of which looks at the margins. No pair: 0.
Metrics reward_metrics(std::span<const double> chosen, std::span<const double> rejected);

struct StepLoss {
  double loss = 0;
  std::vector<double> d_logits;  // [positions,2]
};

// Pure. Cross-entropy of labels 0 and 1 at the labelled positions, logits [positions,2] row-major, divided by
// `labelled`, the step's number of labelled positions (0: these).
StepLoss process_reward_loss(std::span<const double> logits, std::span<const uint8_t> labels, int64_t labelled = 0);

}  // namespace candor::algorithms
