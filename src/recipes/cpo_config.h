// What `candor cpo` and `candor orpo` can be told, beside what the recipes on preferences share (preference_config.h).
#pragma once

#include "algorithms/cpo.h"
#include "recipes/preference_config.h"

namespace candor::recipes {

struct CpoConfig : PreferenceConfig {
  CpoConfig() { learning_rate = 1e-6; }

  // Loss.
  std::string loss_type = "sigmoid";
  double beta = 0.1;
  double label_smoothing = 0.0;
  double cpo_alpha = 1.0;
  double simpo_gamma = 0.5;
  double alpha = 0.0;
};

FieldList cpo_fields(CpoConfig& config);
Result<void> resolve_cpo(CpoConfig& config, const Given& given);
algorithms::CpoOptions loss_options(const CpoConfig& config);

struct OrpoConfig : PreferenceConfig {
  OrpoConfig() { learning_rate = 1e-6; }

  // Loss.
  double beta = 0.1;
};

FieldList orpo_fields(OrpoConfig& config);
Result<void> resolve_orpo(OrpoConfig& config, const Given& given);

}  // namespace candor::recipes
