// What `candor distill` can be told, beside what SFT takes of rows and training. Keys and defaults are those of TRL
// 1.16's GKDConfig, and of MiniLLMConfig (1.14.2) where loss_type is minillm; those marked "ours" have no TRL
// counterpart.
#pragma once

#include "recipes/sft_config.h"

namespace candor::recipes {

struct DistillConfig : SftConfig {
  DistillConfig() {
    loss_type = "gkd";
    metric_for_best_model = "eval_loss";
    guard.guard = "warn";  // no reward is at stake: nothing ends the run unless it is asked to
  }

  // Teacher.
  std::string teacher_model_name_or_path;  // empty: the model itself, without the adapter that trains
  std::string teacher_dtype = "auto";      // ours: auto: what the teacher's file holds
  std::string teacher_prompt;              // ours
  std::string teacher_prompt_path;         // ours

  // Loss.
  double beta = 0.5;
  double kd_temperature = 1.0;  // MiniLLM's; GKD's trainer always compares at 1
  bool rkl_advantage = true, single_step_decomposition = true, length_normalization = true;
  double gamma = 0.0;

  // Whose completions.
  double lmbda = 0.5;
  bool seq_kd = false;
  double temperature = 0.9;  // minillm: 1, as in GRPO
  int64_t max_new_tokens = 128;

  bool minillm() const { return loss_type == "minillm"; }
  // Of the divergence that is measured and, but for minillm without its single-step term, trained.
  double divergence_beta() const { return minillm() ? 1.0 : beta; }
  bool samples() const { return lmbda > 0 || seq_kd; }
  bool tells_teacher_more() const { return !teacher_prompt.empty() || !teacher_prompt_path.empty(); }
};

FieldList distill_fields(DistillConfig& config);

// As resolve_sft, and what only distillation has.
Result<void> resolve_distill(DistillConfig& config, const Given& given);

}  // namespace candor::recipes
