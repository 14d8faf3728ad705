// What one round of sampling gave: completions, their rewards and advantages. It serves one optimizer step, or several
// (num_iterations, steps_per_generation); then it is part of every checkpoint, so that a resume goes on with the same
// numbers and neither samples nor asks a reward again.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "algorithms/advantages.h"
#include "algorithms/ragged.h"
#include "engine/policy_pass.h"
#include "files/json_file.h"
#include "recipes/grpo_config.h"
#include "recipes/rollouts.h"

namespace candor::recipes {

struct Generation {
  Rollouts rollouts;
  std::vector<double> parts;  // [N,K] rewards, NaN where one abstained
  int64_t uses = 0;           // optimizer steps taken on it
  // Dynamic sampling.
  int64_t rounds = 1, replaced_groups = 0;
  int64_t tokens = 0;                  // sampled, those of replaced groups included
  double reward_of_all = 0;            // mean R of all completions that were sampled; NaN where none was scored
  std::vector<double> greedy_rewards;  // [P] R of the prompt's greedy completion; remax only

  // Follow from the above (derive).
  algorithms::GroupAdvantages advantages;
  std::vector<double> token_advantages;  // [tokens]; empty where every token of a row has the row's
  std::vector<double> reference;         // [tokens] log-probabilities under the reference; empty without KL
  std::vector<uint8_t> mask;             // [tokens] 1 counts in the loss; empty: all
  algorithms::RaggedRows rows() const { return {rollouts.offsets, mask}; }
};

// Samples and scores the prompts that come next in `prompts`. With dynamic_sampling, groups without spread give way to
// further prompts', round after round; what is missing after the last round is filled up with such groups. Nothing, and
// the stream where it stood, if it was interrupted. Error: a reward failed (the stream is back as well).
Result<std::optional<Generation>> next_generation(const engine::Context& context, const RolloutParts& parts,
                                                  const GrpoConfig& config, const engine::Adapter& adapter,
                                                  data::PromptStream& prompts, int64_t step);

// Advantages, the reference's log-probabilities and the mask. `base` runs the model without the adapter. Error: the
// advantages cannot be computed (an infinite reward).
Result<void> derive(Generation& generation, const GrpoConfig& config, engine::PolicyPass& base);

// For the checkpoint. Error: the text is not what generation_json wrote for this recipe and these prompts.
files::Json generation_json(const Generation& generation);
Result<Generation> generation_from_json(const files::Json& json, const data::PromptSet& prompts,
                                        const GrpoConfig& config);

}  // namespace candor::recipes
