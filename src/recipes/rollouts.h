// The rollouts of one step: what was sampled, flat and in row order, as rewards, algorithms and engine want it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/prompt_order.h"
#include "engine/policy_pass.h"
#include "engine/sampler.h"
#include "files/json_file.h"
#include "recipes/rollout_config.h"
#include "recipes/rollout_parts.h"

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
  std::vector<double> gold;       // [N] the held-out reward, NaN where it abstained; empty: not asked. Trains nothing
  std::vector<double> disagreement;  // [N] of a reward ensemble's members; empty: there is none. Trains nothing

  engine::RolloutGroup group(int64_t g) const;
  void append(const Rollouts& from, int64_t g);  // its group g
  int64_t tokens() const;                        // prompts (once per row, as TRL counts) and completions
  std::vector<rewards::Completion> for_rewards(const data::PromptSet& set) const;
};

// How the recipe samples at this step.
engine::SamplingOptions sampling_options(const RolloutConfig& config, const files::ModelConfig& model, int64_t step);

// How a generation is sampled.
struct Sampling {
  engine::SamplingOptions options;
  int64_t group_size = 1;
  bool pairs = false;    // log-probabilities of the model itself, at temperature 1, as the policy trains on pairs
  bool another = false;  // and the second of a pair is the reference's
  std::optional<double> reference_share = {};  // or of its mixture with the policy, in which it has this weight
};

// P groups from the chosen prompts; nothing if it was interrupted. first_row: rows that this generation has already
// drawn, so that no two of its rows have the same draws.
std::optional<Rollouts> sample_rollouts(const engine::Context& context, const RolloutParts& parts,
                                        const engine::Adapter& adapter, const std::vector<int64_t>& chosen,
                                        const Sampling& how, int64_t first_row = 0);

// Consecutive groups that go through the model together: as many as `budget` tokens allow, at least one.
std::vector<std::vector<int64_t>> micro_batches(const std::vector<int64_t>& groups, const Rollouts& rollouts,
                                                int64_t budget);
std::vector<engine::RolloutGroup> groups_of(const Rollouts& rollouts, const std::vector<int64_t>& numbers);

// The rewards of all completions, [N,K], NaN where one abstained; notes how far apart an ensemble's members are. Error:
// a reward failed.
Result<std::vector<double>> score_rollouts(const RolloutParts& parts, Rollouts& rollouts);

// Asks the held-out reward about all completions, where it is due in the steps (from 1) that they serve. Error: it
// failed; what the other rewards have said is in their cache.
Result<void> measure_gold(const RolloutConfig& config, const RolloutParts& parts, int64_t first_step, int64_t steps,
                          Rollouts& rollouts);

// Log-probabilities of every completion token under the base model, the adapter off, at this temperature.
std::vector<double> reference_logprobs(engine::PolicyPass& base, const Rollouts& rollouts, double temperature,
                                       int64_t budget);

// What the prompts are, whatever file they came from: runs of one digest train on the same rows in the same order.
std::string digest_of(const data::PromptSet& set);

// The largest distance of what the trainer found to what the sampler had reported; NaN where any is.
double wider_gap(double gap, std::span<const float> found, std::span<const double> reported);
// Error: there is a gap.
Result<void> check_gap(std::string_view recipe, int64_t step, double gap);

// Rows for completions.jsonl: step, prompt, completion, reward, rewards by name, advantage (where rows have one), gold
// (where it was measured), finish_reason, …
std::vector<files::Json> completion_rows(const Rollouts& rollouts, const data::PromptSet& set, int64_t step,
                                         const std::vector<std::string>& reward_names,
                                         std::span<const double> parts_of_reward, std::span<const double> rewards,
                                         std::span<const double> advantages);

// For the checkpoint: prompts by their numbers, and all of the completions. Error: the text is not what rollouts_json
// wrote of so many groups over these prompts.
files::Json rollouts_json(const Rollouts& rollouts);
Result<Rollouts> rollouts_from_json(const files::Json& json, const data::PromptSet& prompts, int64_t groups,
                                    int64_t group_size);
// The texts, which the JSON leaves out.
void decode_texts(const text::Tokenizer& tokenizer, Rollouts& rollouts);
// A number as JSON has it: NaN is null.
double number_of(const files::Json& value);

}  // namespace candor::recipes
