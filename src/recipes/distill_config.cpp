#include "recipes/distill_config.h"

namespace candor::recipes {

namespace {

constexpr const char* kGkd = "gkd";
constexpr const char* kMinillm = "minillm";

Result<void> check_teacher(const DistillConfig& c) {
  if (!c.teacher_prompt.empty() && !c.teacher_prompt_path.empty())
    return error("[distill] teacher_prompt and teacher_prompt_path are both given. Remove one.");
  if (c.tells_teacher_more() && c.truncation_mode == "keep_end")
    return error(
        "[distill] truncation_mode keep_end cuts prompts, and the teacher's prompt is another one than the student's. "
        "Use keep_start.");
  const bool same = c.teacher_model_name_or_path.empty() && !c.tells_teacher_more();
  if (same && c.adapter_name_or_path.empty())
    return error(
        "[distill] the teacher is the model itself and reads the same prompts, so there is nothing to learn. Give "
        "teacher_model_name_or_path, or teacher_prompt for what only the teacher is told.");
  return {};
}

Result<void> resolve_minillm(DistillConfig& c, const Given& given) {
  for (const char* key : {"beta", "seq_kd"})
    if (given.has(key))
      return error(
          "[distill] {} has no part in loss_type minillm, which is the reverse KL on the student's own "
          "completions. Remove it.",
          key);
  if (given.has("lmbda") && c.lmbda != 1)
    return error(
        "[distill] loss_type minillm learns from the student's own completions only, and lmbda is {}. Remove "
        "it, or set it to 1.",
        c.lmbda);
  c.lmbda = 1;
  if (!given.has("temperature")) c.temperature = c.kd_temperature;
  if (c.temperature != c.kd_temperature)
    return error(
        "[distill] temperature {} and kd_temperature {} differ; with loss_type minillm the policy is compared where it "
        "was sampled. Give one of them.",
        c.temperature, c.kd_temperature);
  if (!c.rkl_advantage && !c.single_step_decomposition)
    return error(
        "[distill] rkl_advantage and single_step_decomposition are both false, so nothing is left of the "
        "loss. Set one to true.");
  return {};
}

}  // namespace

FieldList distill_fields(DistillConfig& c) {
  FieldList list("distill");
  add_model_and_data(list, c, "the rows: JSONL, JSON or CSV with prompt and completion, messages, or text");
  list.section(Heading::kResults, "Teacher");
  list.add(
      "teacher_model_name_or_path", &c.teacher_model_name_or_path,
      "the teacher: a model of its own with the same vocabulary, or an adapter on the student's model; empty: that "
      "model itself, without the adapter that trains");
  list.add("teacher_dtype", &c.teacher_dtype,
           "arithmetic of a teacher with a model of its own; auto: what its file holds",
           {.choices = {"auto", "float32", "bfloat16", "int8", "int4", "blocks"}});
  list.add("teacher_prompt", &c.teacher_prompt,
           "what only the teacher is told: a system message before the conversation, or in front of a plain prompt");
  list.add("teacher_prompt_path", &c.teacher_prompt_path, "the same from a text file");
  list.section(Heading::kResults, "Whose completions");
  list.add("lmbda", &c.lmbda, "share of steps on the student's own completions; the others take the rows'",
           {.range = between(0, 1)});
  list.add("seq_kd", &c.seq_kd, "the other steps take completions that the teacher samples");
  list.add("temperature", &c.temperature, "of sampling", {.range = above(0)});
  list.add("max_new_tokens", &c.max_new_tokens, "longest completion that is sampled",
           {.unit = "tokens", .range = between(1, kMaxTokens)});
  add_sft_rows(list, c);
  add_batch(list, c, "rows");
  list.section(Heading::kResults, "Loss");
  list.add("loss_type", &c.loss_type,
           "gkd: the divergence of whole distributions, token by token; minillm: the reverse KL by policy gradient on "
           "the student's own completions",
           {.choices = {kGkd, kMinillm}});
  list.add("beta", &c.beta,
           "0: forward KL, from teacher to student; 1: reverse KL; between: the generalised Jensen-Shannon divergence",
           {.range = between(0, 1)});
  list.add("kd_temperature", &c.kd_temperature, "of the two distributions that are compared", {.range = above(0)});
  list.add("rkl_advantage", &c.rkl_advantage, "minillm: the advantage of a token is the teacher's log-ratio");
  list.add("single_step_decomposition", &c.single_step_decomposition,
           "minillm: adds the reverse KL of each token's own distribution");
  list.add("gamma", &c.gamma, "minillm: discount of what later tokens add to an advantage; 0: its own token alone",
           {.range = between(0, 1)});
  list.add("length_normalization", &c.length_normalization,
           "minillm: advantages are means, not sums, over later tokens");
  add_optimizer(list, c);
  add_adapter(list, c);
  add_best_model(list, c, {"eval_loss", "eval_agreement"});
  add_guard(list, c, false);
  add_speed(list, c);
  add_record(list, c);
  return list;
}

Result<void> resolve_distill(DistillConfig& c, const Given& given) {
  TRY(resolve_rows_recipe(c, given, "distill"));
  TRY(check_teacher(c));
  if (c.minillm())
    TRY(resolve_minillm(c, given));
  else
    for (const char* key : {"rkl_advantage", "single_step_decomposition", "gamma", "length_normalization"})
      if (given.has(key)) return error("[distill] {} belongs to loss_type minillm. Remove it.", key);
  if (c.samples() && c.lora_dropout > 0)
    return error(
        "[distill] lora_dropout {} with completions that are sampled in training: what trains must be what sampled. "
        "Set it to 0, or lmbda to 0.",
        c.lora_dropout);
  return {};
}

}  // namespace candor::recipes
