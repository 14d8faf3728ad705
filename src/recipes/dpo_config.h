// What `candor dpo` can be told, beside what every training recipe takes (training_config.h). overlong and bad_rows
// have no TRL counterpart.
#pragma once

#include "algorithms/dpo.h"
#include "recipes/preference_config.h"

namespace candor::recipes {

struct DpoConfig : PreferenceConfig {
  DpoConfig() { learning_rate = 1e-6; }

  // Loss.
  std::vector<std::string> loss_type = {"sigmoid"};
  std::vector<double> loss_weights;  // empty: all 1
  double beta = 0.1;
  double label_smoothing = 0.0;
  std::string f_divergence_type = "reverse_kl";
  double f_alpha_divergence_coef = 0.5;
  std::optional<double> ld_alpha;
  double discopop_tau = 0.05;
  bool use_weighting = false;
  std::optional<std::string> compat;              // ours: trl, openrlhf
  std::string ipo_scores = "mean";                // ours
  std::string precompute_ref_log_probs = "auto";  // auto: where every weight trains, since the reference is gone then

  bool precomputes_reference() const { return precompute_ref_log_probs == "true"; }  // once resolved
};

FieldList dpo_fields(DpoConfig& config);

// resolve_preference, and what only DPO has: precompute_ref_log_probs, and its keys against one another.
Result<void> resolve_dpo(DpoConfig& config, const Given& given);

algorithms::DpoOptions loss_options(const DpoConfig& config);

}  // namespace candor::recipes
