// What every recipe that samples completions and rewards them can be told, beside what all recipes take
// (training_config.h). max_prompt_length, stop and the keys marked "ours" have no TRL counterpart.
#pragma once

#include "recipes/gold_keys.h"
#include "recipes/training_config.h"

namespace candor::recipes {

struct RolloutConfig : TrainingConfig, GoldKeys {
  RolloutConfig() { guard = guard::Options(); }

  int64_t num_generations = 8;  // completions of one prompt

  // Sampling.
  int64_t max_completion_length = 512;
  std::optional<int64_t> max_prompt_length;  // ours; none: context - max_completion_length
  double temperature = 1.0;
  int64_t top_k = 0;
  double top_p = 1.0;
  std::optional<double> min_p;
  double repetition_penalty = 1.0;
  std::vector<std::string> stop;  // ours

  // Rewards.
  std::vector<std::string> reward_funcs;  // names, or paths of reward models
  std::vector<double> reward_weights;     // empty: all 1
  std::vector<std::string> reward_model_path;
  std::string reward_ensemble = "mean";             // ours
  double reward_ensemble_lambda = 0.1;              // ours
  std::optional<double> length_penalty_alpha;       // ours
  double reasoned_without_steps = 0;                // ours
  std::string accuracy_extraction = "last_number";  // ours, as the rest of this block
  std::string format_regex;
  std::optional<int64_t> length_target;
  std::string length_reward = "target";
  std::optional<int64_t> overlong_max;  // none: max_completion_length
  std::optional<int64_t> overlong_cache;
  int64_t repetition_ngram_size = 3;
  double repetition_max_penalty = -1.0;
  std::optional<int64_t> cosine_max_len;  // none: max_completion_length
  double cosine_min_value_wrong = -1.0, cosine_max_value_wrong = -0.5;
  double cosine_min_value_correct = 0.5, cosine_max_value_correct = 1.0;
  std::vector<std::string> reward_program;  // the program and its arguments
  std::string reward_endpoint;
  std::string reward_endpoint_key_env;
  double reward_timeout = 60.0;
  int64_t reward_memory_mib = 4096;  // 0: no limit

  // The held-out reward, beside GoldKeys; all ours.
  std::vector<std::string> gold_reward_program;
  std::string gold_reward_endpoint;
  std::string gold_reward_endpoint_key_env;

  std::string screen_rewards = "warn";  // ours: before the first step; warn | stop | off

  // Speed and memory.
  int64_t generation_rows = 0;  // 0: the engine's choice

  // What is written.
  bool log_completions = false;
  std::optional<int64_t> num_completions_to_print;
  int64_t exact_kl_steps = 10;     // ours; 0: never
  int64_t forward_kl_prompts = 8;  // ours; 0: never

  double weight_of_reward(size_t i) const { return reward_weights.empty() ? 1.0 : reward_weights[i]; }
  // Whether the KL of whole distributions is measured in this step (of ppo: generation), from 1.
  bool measures_kl(int64_t number) const { return exact_kl_steps > 0 && number % exact_kl_steps == 0; }
};

// The word of reward_funcs for the models of reward_model_path together.
inline constexpr const char* kRewardModel = "reward_model";

// The fields above, section by section; a recipe puts its own between them.
struct SamplingWords {
  std::string length = "max_completion_length";  // TRL's trainers on pairs have another key
  std::string temperature = "of the sampler and of the policy that trains";
};
void add_sampling(FieldList& list, RolloutConfig& config, const SamplingWords& words = {});
void add_rewards(FieldList& list, RolloutConfig& config, bool required = true);
void add_gold(FieldList& list, RolloutConfig& config);                                           // behind add_guard
void add_gold_keys(FieldList& list, GoldKeys& config, const std::vector<std::string>& choices);  // of any recipe
void add_rollout_speed(FieldList& list, RolloutConfig& config);                                  // behind add_speed
void add_completions_record(FieldList& list, RolloutConfig& config);                             // behind add_record
// Behind that; steps: what exact_kl_steps counts.
void add_kl_record(FieldList& list, RolloutConfig& config, std::string_view steps);

// Behind resolve_training: fills in what follows from other keys (overlong_max, cosine_max_len), checks the keys above
// against one another, and that an adapter trains, without dropout.
Result<void> resolve_rollouts(RolloutConfig& config, const Given& given, std::string_view recipe);

// The held-out reward's keys against one another and against what its rewards need.
Result<void> check_gold(const RolloutConfig& config, const Given& given, std::string_view recipe);

// The recipe whose rewards are this one's held-out ones, all of weight 1.
RolloutConfig gold_recipe(const RolloutConfig& config);

// What metrics and completions.jsonl call the rewards: a reward model by the last part of its path that says something
// (runs/rm/final is "rm"), or by the whole path where two would have one name.
std::vector<std::string> reward_names(const RolloutConfig& config);

}  // namespace candor::recipes
