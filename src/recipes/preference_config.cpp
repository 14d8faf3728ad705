#include "recipes/preference_config.h"

#include <algorithm>

namespace candor::recipes {

namespace {

RolloutConfig with_gold_keys(const PreferenceConfig& config) {
  RolloutConfig all;
  static_cast<TrainingConfig&>(all) = config;
  static_cast<GoldKeys&>(all) = config;
  all.num_generations = 1;
  return all;
}

}  // namespace

void add_preference_rows(FieldList& list, PreferenceConfig& c) {
  list.section(Heading::kResults, "Rows to tokens");
  list.add("chat_template_path", &c.chat_template_path,
           "a Jinja file, or a model's directory, whose chat template takes the place of the model's own");
  list.add("max_length", &c.max_length, "longest prompt and completion together",
           {.unit = "tokens", .range = between(2, kMaxTokens), .without = "what the context holds"});
  list.add("truncation_mode", &c.truncation_mode, "which end of a row that is too long is kept",
           {.choices = {"keep_start", "keep_end"}});
  list.add("overlong", &c.overlong, "what becomes of a row that is too long: it is cut, left out, or stops the run",
           {.choices = {"truncate", "drop", "error"}});
  list.add("bad_rows", &c.bad_rows, "whether a row that cannot be read or teaches nothing stops the run or is left out",
           {.choices = {"error", "drop"}});
}

void add_gold(FieldList& list, PreferenceConfig& c) {
  add_gold_keys(list, c, {"accuracy", "reasoned_accuracy", "arithmetic_steps", kRewardModel});
}

RolloutConfig gold_recipe(const PreferenceConfig& config) {
  return gold_recipe(with_gold_keys(config));
}

Result<void> resolve_preference(PreferenceConfig& c, const Given& given, std::string_view recipe,
                                std::string_view row) {
  TRY(resolve_training(c, given, recipe));
  TRY(resolve_best_model(c, recipe));
  TRY(check_gold(with_gold_keys(c), given, recipe));
  if (c.has_gold() && c.eval_dataset.empty())
    return error(
        "[{}] gold_reward_funcs names a held-out reward, which is asked about held-out pairs, and there is no "
        "eval_dataset. Give one, or remove gold_reward_funcs.",
        recipe);
  if (!c.use_peft && given.has("adapter_name_or_path"))
    return error("[{}] use_peft is false, but adapter_name_or_path names an adapter to train. Remove one of the two.",
                 recipe);
  if (!given.has("gradient_shards"))
    c.gradient_shards = c.use_peft ? std::min(c.gradient_shards, c.rows_per_step()) : 1;
  if (c.gradient_shards > c.rows_per_step())
    return error(
        "[{}] gradient_shards {} is more than the {} {}{} of a step, and a shard holds whole {}s. Lower "
        "gradient_shards or raise per_device_train_batch_size.",
        recipe, c.gradient_shards, c.rows_per_step(), row, c.rows_per_step() == 1 ? "" : "s", row);
  return {};
}

data::PreferenceOptions data_options(const PreferenceConfig& c, std::string_view recipe, int64_t context_length) {
  data::PreferenceOptions options;
  options.where = recipe;
  options.max_length = c.max_length;
  options.context_length = context_length;
  options.truncation_mode =
      c.truncation_mode == "keep_end" ? data::TruncationMode::kKeepEnd : data::TruncationMode::kKeepStart;
  options.overlong = c.overlong == "drop"    ? data::Overlong::kDrop
                     : c.overlong == "error" ? data::Overlong::kError
                                             : data::Overlong::kTruncate;
  options.bad_rows = c.bad_rows == "drop" ? data::BadRows::kDrop : data::BadRows::kError;
  return options;
}

}  // namespace candor::recipes
