// What `candor grpo` can be told: TRL's names and, where TRL has the key, the defaults of TRL 1.16. The departures:
// max_completion_length's neighbours max_prompt_length, stop and the keys marked "ours" below have no TRL counterpart;
// save_total_limit is 3, lora_dropout 0, lora_target_modules all-linear, and use_peft is true where an lora_* key is
// given.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "recipes/config.h"
#include "recipes/fields.h"

namespace candor::recipes {

struct GrpoConfig {
  // Model and data.
  std::string model_name_or_path;
  std::string adapter_name_or_path;  // ours: a PEFT adapter to go on from; empty = a new one
  std::string dataset_name;
  std::string eval_dataset;  // ours: a file; TRL takes a split
  bool shuffle_dataset = true;
  int64_t seed = 42;

  // The length of the run and its batch.
  int64_t max_steps = -1;  // -1: num_train_epochs decides
  double num_train_epochs = 3.0;
  int64_t per_device_train_batch_size = 8;  // completions
  int64_t gradient_accumulation_steps = 1;
  int64_t num_generations = 8;
  int64_t gradient_shards = 4;  // ours; lowered to the number of groups where it was not given

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

  // Optimizer.
  double learning_rate = 1e-6;
  std::string lr_scheduler_type = "linear";
  double warmup_steps = 0.0;
  double warmup_ratio = 0.0;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double weight_decay = 0.0;
  double max_grad_norm = 1.0;

  // Adapter.
  bool use_peft = false;
  int64_t lora_r = 16;
  double lora_alpha = 32.0;
  double lora_dropout = 0.0;
  TextOrList lora_target_modules = {.is_list = false, .items = {"all-linear"}};
  bool use_rslora = false;

  // Speed and memory.
  int64_t threads = 0;             // 0: the cores this process may use
  int64_t micro_batch_tokens = 0;  // 0: the engine's choice
  int64_t generation_rows = 0;     // 0: the engine's choice

  // What is written, and when.
  std::string output_dir;
  std::string resume_from_checkpoint = "false";  // false, true, auto
  bool resume_on_other_kernels = false;          // ours
  bool overwrite_output_dir = false;
  int64_t logging_steps = 10;
  std::string eval_strategy = "no";
  std::optional<int64_t> eval_steps;
  bool eval_on_start = false;
  std::string save_strategy = "steps";
  int64_t save_steps = 500;
  std::optional<int64_t> save_total_limit = 3;  // none: all are kept
  bool log_completions = false;
  std::optional<int64_t> num_completions_to_print;

  // Prompts of one optimizer step.
  int64_t groups_per_step() const {
    return per_device_train_batch_size * gradient_accumulation_steps / num_generations;
  }
  double weight_of_reward(size_t i) const { return reward_weights.empty() ? 1.0 : reward_weights[i]; }
  // Steps of warm-up out of `total`: warmup_steps, where a value below 1 is a share (Transformers 5), or warmup_ratio.
  int64_t warmup_of(int64_t total) const;
};

FieldList grpo_fields(GrpoConfig& config);

// Fills in what follows from other keys (use_peft, gradient_shards, eval_strategy, eval_steps, overlong_max) and checks
// the keys against one another. `given` says which keys the user set.
Result<void> resolve_grpo(GrpoConfig& config, const Given& given);

}  // namespace candor::recipes
