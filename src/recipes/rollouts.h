// The rollouts of one step: what was sampled, flat and in row order, as rewards, algorithms and engine want it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "algorithms/advantages.h"
#include "data/prompt_order.h"
#include "engine/policy_pass.h"
#include "engine/sampler.h"
#include "files/json_file.h"
#include "recipes/grpo_config.h"
#include "recipes/grpo_parts.h"

namespace candor::recipes {

// What a completion's token takes over a step: its id, the sampler's five numbers of it (vectors that grow by
// doubling), the trainer's eight in double, and its text.
inline constexpr int64_t kRolloutTokenBytes = 2 * 5 * sizeof(float) + 8 * sizeof(double) + 8;

struct Rollouts {
  int64_t groups = 0, group_size = 0;           // P, G; rows N = P·G, groups are adjacent
  std::vector<int64_t> prompt_numbers;          // [P] into the prompt set
  std::vector<std::vector<int32_t>> prompts;    // [P]
  std::vector<engine::Completion> completions;  // [N]
  std::vector<std::string> texts;               // [N], decoded without special tokens
  std::vector<int64_t> offsets;                 // [N+1] into the token arrays
  // [tokens] the sampler's: log-probabilities at the policy's temperature, entropies at the sampling temperature.
  std::vector<double> logprobs, entropies;
  std::vector<int64_t> lengths;   // [N] tokens
  std::vector<uint8_t> finished;  // [N] 1 = ended by a stop token or string

  engine::RolloutGroup group(int64_t g) const;
  void append(const Rollouts& from, int64_t g);  // its group g
  int64_t tokens() const;                        // prompts (once per row, as TRL counts) and completions
  std::vector<rewards::Completion> for_rewards(const data::PromptSet& set) const;
};

// P groups from the chosen prompts; nothing if it was interrupted. A pair's second completion is XPO's reference's or
// Nash-MD's mixture's, and has their log-probabilities. first_row: rows that this generation has already
// drawn, so that no two of its rows have the same draws.
std::optional<Rollouts> sample_rollouts(const engine::Context& context, const GrpoParts& parts,
                                        const GrpoConfig& config, const engine::Adapter& adapter,
                                        const std::vector<int64_t>& chosen, int64_t step, int64_t first_row = 0);

// Consecutive groups that go through the model together: as many as `budget` tokens allow, at least one.
std::vector<std::vector<int64_t>> micro_batches(const std::vector<int64_t>& groups, const Rollouts& rollouts,
                                                int64_t budget);
std::vector<engine::RolloutGroup> groups_of(const Rollouts& rollouts, const std::vector<int64_t>& numbers);

// Rows for completions.jsonl: step, prompt, completion, reward, rewards by name, advantage, finish_reason, …
std::vector<files::Json> completion_rows(const Rollouts& rollouts, const data::PromptSet& set, int64_t step,
                                         const std::vector<std::string>& reward_names,
                                         const std::vector<double>& parts_of_reward,
                                         const algorithms::GroupAdvantages& advantages);

}  // namespace candor::recipes
