// What the recipes on preferences share (dpo, reward, kto), beside what every training recipe takes
// (training_config.h). overlong and bad_rows have no TRL counterpart.
#pragma once

#include "data/preference_set.h"
#include "recipes/gold_keys.h"
#include "recipes/rollout_config.h"
#include "recipes/training_config.h"

namespace candor::recipes {

struct PreferenceConfig : TrainingConfig, GoldKeys {
  PreferenceConfig() { guard = guard::Options(); }

  // Rows to token ids.
  std::string chat_template_path;            // empty: the model's own template
  std::optional<int64_t> max_length = 1024;  // none: the context
  std::string truncation_mode = "keep_start";
  std::string overlong = "truncate";
  std::string bad_rows = "error";

  // Rows (pairs) of one optimizer step.
  int64_t rows_per_step() const { return per_device_train_batch_size * gradient_accumulation_steps; }
};

void add_preference_rows(FieldList& list, PreferenceConfig& config);

// Behind add_guard, of a recipe that asks a held-out reward about held-out pairs (preference_gold.h).
void add_gold(FieldList& list, PreferenceConfig& config);

// The recipe that samples whose rewards are this one's held-out ones: what RewardModels and make_rewards take. A group
// is one completion.
RolloutConfig gold_recipe(const PreferenceConfig& config);

// resolve_training, resolve_best_model, the held-out reward, and gradient_shards: one where all weights train, since
// each further one holds another copy of the gradients. `row` is what a step counts ("pair").
Result<void> resolve_preference(PreferenceConfig& config, const Given& given, std::string_view recipe,
                                std::string_view row);

data::PreferenceOptions data_options(const PreferenceConfig& config, std::string_view recipe, int64_t context_length);

}  // namespace candor::recipes
