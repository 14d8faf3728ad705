#include "recipes/sft_config.h"

#include <algorithm>

namespace candor::recipes {

Result<void> resolve_rows_recipe(SftConfig& c, const Given& given, std::string_view recipe) {
  TRY(resolve_training(c, given, recipe));
  TRY(resolve_best_model(c, recipe));
  if (!c.use_peft && given.has("adapter_name_or_path"))
    return error("[{}] use_peft is false, but adapter_name_or_path names an adapter to train. Remove one of the two.",
                 recipe);
  if (!given.has("gradient_shards"))
    c.gradient_shards = c.use_peft ? std::min(c.gradient_shards, c.rows_per_step()) : 1;
  if (c.gradient_shards > c.rows_per_step())
    return error(
        "[{}] gradient_shards {} is more than the {} row{} of a step, and a shard holds whole rows. Lower "
        "gradient_shards or raise per_device_train_batch_size.",
        recipe, c.gradient_shards, c.rows_per_step(), c.rows_per_step() == 1 ? "" : "s");
  if (c.packing && !c.max_length)
    return error("[{}] packing needs max_length, the size of a bin. Give it in tokens.", recipe);
  return {};
}

Result<void> resolve_sft(SftConfig& c, const Given& given) {
  TRY(resolve_rows_recipe(c, given, "sft"));
  if (c.label_smoothing_factor != 0 && c.loss_type == "dft")
    return error("[sft] label_smoothing_factor {} has no meaning with loss_type dft. Remove one.",
                 c.label_smoothing_factor);
  return {};
}

data::SftOptions data_options(const SftConfig& c, int64_t context_length, bool evaluation) {
  data::SftOptions options;
  options.text_column = c.dataset_text_field;
  if (c.completion_only_loss != "auto") options.completion_only_loss = c.completion_only_loss == "true";
  options.assistant_only_loss = c.assistant_only_loss;
  options.max_length = c.max_length;
  options.context_length = context_length;
  options.truncation_mode =
      c.truncation_mode == "keep_end" ? data::TruncationMode::kKeepEnd : data::TruncationMode::kKeepStart;
  options.overlong = c.overlong == "drop"    ? data::Overlong::kDrop
                     : c.overlong == "error" ? data::Overlong::kError
                                             : data::Overlong::kTruncate;
  options.bad_rows = c.bad_rows == "drop" ? data::BadRows::kDrop : data::BadRows::kError;
  const bool packing = evaluation && c.eval_packing != "auto" ? c.eval_packing == "true" : c.packing;
  if (packing)
    options.packing = c.packing_strategy == "wrapped"     ? data::PackingStrategy::kWrapped
                      : c.packing_strategy == "bfd_split" ? data::PackingStrategy::kBfdSplit
                                                          : data::PackingStrategy::kBfd;
  return options;
}

algorithms::SftLossType loss_type(const SftConfig& config) {
  return config.loss_type == "dft" ? algorithms::SftLossType::kDft : algorithms::SftLossType::kNll;
}

}  // namespace candor::recipes
