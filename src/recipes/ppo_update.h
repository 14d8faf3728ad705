// The gradients of one PPO step: a mini-batch of a generation through the policy and through the critic, the two
// losses, and back.
#pragma once

#include <vector>

#include "engine/gradient_shards.h"
#include "recipes/ppo_generation.h"

namespace candor::recipes {

// What a step computed, for its row in metrics.jsonl.
struct PpoNumbers {
  std::vector<algorithms::PpoRow> rows;  // of the mini-batch, in its order
  double loss = 0;                       // policy loss + vf_coef · value loss
  double entropy = 0;                    // mean over the mini-batch's tokens
  // Where both are still those that sampled: between the sampler's and the trainer's log-probabilities, between old
  // values that had a pass of their own and those in training.
  double max_gap = 0, max_value_gap = 0;
  double max_log_ratio = 0;  // the largest |log-ratio| of a token to the policy that sampled it
  double grad_norm = 0, learning_rate = 0;
};

// What trains: the policy's adapter, and the critic's with its head.
struct PpoTrainables {
  const engine::Trainable& policy;
  const engine::Trainable& critic;
};
struct PpoGradients {
  engine::GradientShards& policy;
  engine::GradientShards& critic;
};

// The mini-batch that the generation's next use takes. Leaves the summed gradients in `gradients`. First the critic's
// passes, then the policy's: their losses share no number, but old values that are not known yet are those that the
// critic's pass finds, and advantages follow from them.
PpoNumbers accumulate_gradients(const engine::Context& context, const PpoConfig& config, PpoGeneration& generation,
                                const PpoTrainables& trainables, const engine::Role& critic, PpoPasses& passes,
                                const PpoGradients& gradients);

}  // namespace candor::recipes
