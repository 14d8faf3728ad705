// What `candor sft` can be told, beside what every training recipe takes (training_config.h). overlong and bad_rows
// have no TRL counterpart; its trainer cuts the one and stops at the other.
#pragma once

#include "algorithms/sft.h"
#include "data/sft.h"
#include "recipes/training_config.h"

namespace candor::recipes {

struct SftConfig : TrainingConfig {
  // Rows to token ids.
  std::string dataset_text_field = "text";
  std::string chat_template_path;             // empty: the model's own template
  std::string completion_only_loss = "auto";  // auto: in rows of prompt and completion
  bool assistant_only_loss = false;
  std::optional<int64_t> max_length = 1024;  // none: the context
  std::string truncation_mode = "keep_start";
  std::string overlong = "truncate";
  std::string bad_rows = "error";
  bool packing = false;
  std::string packing_strategy = "bfd";
  std::string eval_packing = "auto";  // auto: as packing

  // Loss.
  std::string loss_type = "nll";
  double label_smoothing_factor = 0.0;

  // Rows, or bins of packed ones, of one optimizer step.
  int64_t rows_per_step() const { return per_device_train_batch_size * gradient_accumulation_steps; }
};

FieldList sft_fields(SftConfig& config);
// Of it, how a row becomes tokens, packing apart.
void add_sft_rows(FieldList& list, SftConfig& config);

// resolve_training, and what only SFT has: gradient_shards (one where all weights train, since each further one holds
// another copy of the gradients), and its keys against one another.
Result<void> resolve_sft(SftConfig& config, const Given& given);
// The same for a recipe that takes such rows; `recipe` opens the messages.
Result<void> resolve_rows_recipe(SftConfig& config, const Given& given, std::string_view recipe);

// To the options of the rooms that a step passes through. `evaluation`: of eval_dataset.
data::SftOptions data_options(const SftConfig& config, int64_t context_length, bool evaluation);
algorithms::SftLossType loss_type(const SftConfig& config);

}  // namespace candor::recipes
