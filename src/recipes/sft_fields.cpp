// The keys that only `candor sft` has, and all of them in their order.
#include "recipes/sft_config.h"

namespace candor::recipes {
namespace {

// A boolean that may be left to the program.
FieldOptions auto_or_bool() {
  return {.choices = {"auto", "true", "false"},
          .other_names = {{"True", "true"}, {"False", "false"}, {"null", "auto"}, {"None", "auto"}}};
}

void add_packing(FieldList& list, SftConfig& c) {
  list.add("packing", &c.packing, "several rows share a bin of max_length tokens; none sees another");
  list.add(
      "packing_strategy", &c.packing_strategy,
      "best fit decreasing (bfd), the same with long rows cut into pieces (bfd_split), or one stream cut wherever a "
      "bin is full (wrapped)",
      {.choices = {"bfd", "bfd_split", "wrapped"}, .other_names = {{"bfd-requeue", "bfd_split"}}});
  list.add("eval_packing", &c.eval_packing, "the same for eval_dataset; auto: as packing", auto_or_bool());
}

}  // namespace

void add_sft_rows(FieldList& list, SftConfig& c) {
  list.section(Heading::kResults, "Rows to tokens");
  list.add("dataset_text_field", &c.dataset_text_field, "the column of plain text");
  list.add("chat_template_path", &c.chat_template_path,
           "a Jinja file, or a model's directory, whose chat template takes the place of the model's own");
  list.add("completion_only_loss", &c.completion_only_loss,
           "only the completion counts, not its prompt; auto: in rows of prompt and completion", auto_or_bool());
  list.add("assistant_only_loss", &c.assistant_only_loss, "only what the assistant says counts, in conversations");
  list.add("max_length", &c.max_length, "longest row, or the size of a bin where rows are packed",
           {.unit = "tokens", .range = between(2, kMaxTokens), .without = "what the context holds"});
  list.add("truncation_mode", &c.truncation_mode, "which end of a row that is too long is kept",
           {.choices = {"keep_start", "keep_end"}});
  list.add("overlong", &c.overlong, "what becomes of a row that is too long: it is cut, left out, or stops the run",
           {.choices = {"truncate", "drop", "error"}});
  list.add("bad_rows", &c.bad_rows, "whether a row that cannot be read or teaches nothing stops the run or is left out",
           {.choices = {"error", "drop"}});
}

FieldList sft_fields(SftConfig& config) {
  FieldList list("sft");
  add_model_and_data(list, config, "the rows: JSONL, JSON or CSV with text, messages, or prompt and completion");
  add_sft_rows(list, config);
  add_packing(list, config);
  add_batch(list, config, "rows");
  list.section(Heading::kResults, "Loss");
  list.add("loss_type", &config.loss_type,
           "negative log-likelihood, or Dynamic Fine-Tuning, where each token weighs what its probability is",
           {.choices = {"nll", "dft"}, .other_names = {{"chunked_nll", "nll"}}});
  list.add("label_smoothing_factor", &config.label_smoothing_factor,
           "share of a label's weight that all tokens of the vocabulary have alike", {.range = between(0, 1)});
  add_optimizer(list, config);
  add_adapter(list, config);
  add_best_model(list, config, {"eval_loss", "eval_mean_token_accuracy"});
  add_speed(list, config);
  add_record(list, config);
  return list;
}

}  // namespace candor::recipes
