#include "recipes/prm_config.h"

namespace candor::recipes {

FieldList prm_fields(PrmConfig& c) {
  FieldList list("prm");
  add_model_and_data(list, c,
                     "the solutions: JSONL, JSON or CSV with prompt, completions (a list of steps) and labels (a list "
                     "of true and false)");
  add_preference_rows(list, c);
  list.add("step_separator", &c.step_separator, "what stands behind each step; its last token is judged");
  list.add("train_on_last_step_only", &c.train_on_last_step_only, "only the last step of each training row counts");
  add_batch(list, c, "rows");
  add_optimizer(list, c);
  add_adapter(list, c);
  add_best_model(list, c, {"eval_loss", "eval_accuracy"});
  add_speed(list, c);
  add_record(list, c);
  return list;
}

Result<void> resolve_prm(PrmConfig& c, const Given& given) {
  if (given.has("use_peft") && !c.use_peft)
    return error(
        "[prm] use_peft is false, but a process reward model is an adapter and a head of two labels here. Leave the "
        "key out.");
  c.use_peft = true;
  if (c.truncation_mode != "keep_start")
    return error("[prm] truncation_mode {} would cut the problem off its solution. Leave the key out.",
                 c.truncation_mode);
  return resolve_preference(c, given, "prm", "row");
}

data::StepwiseOptions data_options(const PrmConfig& config, int64_t context_length, bool evaluation) {
  return {.rows = data_options(static_cast<const PreferenceConfig&>(config), "prm", context_length),
          .step_separator = config.step_separator,
          .last_step_only = config.train_on_last_step_only && !evaluation};
}

}  // namespace candor::recipes
