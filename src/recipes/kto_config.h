// What `candor kto` can be told, beside what the recipes on preferences share (preference_config.h). loss_type bco is
// TRL's BCOTrainer, here beside KTO since it takes the same rows.
#pragma once

#include "algorithms/unpaired.h"
#include "recipes/preference_config.h"

namespace candor::recipes {

struct KtoConfig : PreferenceConfig {
  KtoConfig() { learning_rate = 1e-6; }

  // Loss.
  std::string loss_type = "kto";
  double beta = 0.1;
  double desirable_weight = 1.0, undesirable_weight = 1.0;
};

FieldList kto_fields(KtoConfig& config);

// resolve_preference, and its keys against one another.
Result<void> resolve_kto(KtoConfig& config, const Given& given);

}  // namespace candor::recipes
