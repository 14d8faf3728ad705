// The gradient of one GRPO step: a slice of a generation through the model, the loss, and back.
#pragma once

#include <vector>

#include "algorithms/grpo.h"
#include "engine/gradient_shards.h"
#include "engine/policy_pass.h"
#include "recipes/generation.h"

namespace candor::recipes {

// What a step computed, for its row in metrics.jsonl.
struct StepNumbers {
  std::vector<algorithms::GrpoRow> rows;  // of the slice, in row order
  std::vector<double> logprobs;           // [tokens] of the slice, before the step
  double loss = 0, policy_loss = 0;       // policy_loss: before the entropy bonus was taken from it
  double kept_entropy = 0;                // mean over the tokens that the policy trains on
  double max_gap = 0;                     // between the sampler's and the trainer's log-probabilities
  double grad_norm = 0, learning_rate = 0;
};

// The slice that the generation's next use takes: groups_per_step consecutive groups; after all slices, the first
// again. Leaves the summed gradient in `shards`. Where the policy is still the one that sampled (uses is 0) its
// log-probabilities are known before the first pass, and max_gap compares them.
//
// A statistic over per_device_train_batch_size rows (top_entropy_quantile) needs every entropy before any row can
// train: once the weights have moved that takes a pass of its own. Groups whose coefficients are all zero have no
// backward pass.
StepNumbers accumulate_gradients(const engine::Context& context, const GrpoConfig& config, const Generation& generation,
                                 double entropy_coefficient, const engine::Trainable& trainable,
                                 engine::PolicyPass& pass, engine::GradientShards& shards);

}  // namespace candor::recipes
