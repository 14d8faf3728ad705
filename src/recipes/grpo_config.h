// What `candor grpo` can be told, beside what every training recipe takes (training_config.h). max_prompt_length, stop
// and the keys marked "ours" have no TRL counterpart.
#pragma once

#include "recipes/training_config.h"

namespace candor::recipes {

struct GrpoConfig : TrainingConfig {
  GrpoConfig() { learning_rate = 1e-6; }

  int64_t num_generations = 8;

  // Sampling.
  int64_t max_completion_length = 512;
  std::optional<int64_t> max_prompt_length;  // ours; none: context - max_completion_length
  double temperature = 1.0;
  int64_t top_k = 0;
  double top_p = 1.0;
  std::vector<std::string> stop;  // ours

  // Loss.
  std::string loss_type = "dapo";
  std::string scale_rewards = "group";
  double epsilon = 0.2;
  std::optional<double> epsilon_high;  // none: epsilon
  std::optional<double> delta;
  double beta = 0.0;
  std::string kl_placement = "loss";  // ours
  std::string kl_estimator = "k3";    // ours
  bool use_bias_correction_kl = true;

  // Rewards.
  std::vector<std::string> reward_funcs;
  std::vector<double> reward_weights;  // empty: all 1
  std::string multi_objective_aggregation = "sum_then_normalize";
  std::string accuracy_extraction = "last_number";  // ours, as the rest of this block
  std::string format_regex;
  std::optional<int64_t> length_target;
  std::string length_reward = "target";
  std::optional<int64_t> overlong_max;  // none: max_completion_length
  std::optional<int64_t> overlong_cache;

  // Speed and memory.
  int64_t generation_rows = 0;  // 0: the engine's choice

  // What is written.
  bool log_completions = false;
  std::optional<int64_t> num_completions_to_print;

  // Prompts of one optimizer step.
  int64_t groups_per_step() const {
    return per_device_train_batch_size * gradient_accumulation_steps / num_generations;
  }
  double weight_of_reward(size_t i) const { return reward_weights.empty() ? 1.0 : reward_weights[i]; }
};

FieldList grpo_fields(GrpoConfig& config);

// resolve_training, and what only GRPO has: gradient_shards, overlong_max, and its keys against one another.
Result<void> resolve_grpo(GrpoConfig& config, const Given& given);

}  // namespace candor::recipes
