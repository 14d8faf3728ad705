// The loss of the recipes that compare two completions of a prompt as they sample them: online DPO (arXiv 2402.04792),
// XPO (2405.21046) and Nash-MD (2312.00886), in the shape of the group losses, whose loop they share (grpo.cpp).
//
// Departures from TRL: XPO's and Nash-MD's second completion is sampled by the same sampler in one pass with the first;
// a pair of which a completion was not scored trains nothing (and stays in the mean's divisor); TRL adds the reward
// functions' numbers, abstentions as 0.
#pragma once

#include <span>
#include <vector>

#include "algorithms/grpo.h"
#include "algorithms/metrics.h"
#include "recipes/generation.h"

namespace candor::recipes {

// Whole pairs: two adjacent rows in the order in which they were sampled (the policy's; XPO: the reference's, Nash-MD:
// the mixture's). Token arrays are [tokens] of `rows`.
struct OnlinePairs {
  algorithms::RaggedRows rows;                  // every token counts
  std::span<const double> logprobs, reference;  // of the policy and of the reference
  std::span<const double> advantages;           // [2B] of advantages.h
  std::span<const double> rewards;              // [2B] NaN: nobody scored the row
  int64_t step_pairs = 0;                       // the mean's divisor
};

// Pure. A pair's loss stands at its first row.
algorithms::GrpoLoss online_pair_loss(const GrpoConfig& config, const OnlinePairs& pairs);

// Under TRL's names: objective/…, val/contain_eos_token, beta; logps/…, rewards/chosen and the like, or Nash-MD's
// rewards/probabilities; the parts of XPO's and Nash-MD's loss. What is about samples of the policy is over the
// policy's own. logprobs [tokens] of the generation.
algorithms::Metrics online_pair_metrics(const GrpoConfig& config, const Generation& generation,
                                        std::span<const double> logprobs);

}  // namespace candor::recipes
