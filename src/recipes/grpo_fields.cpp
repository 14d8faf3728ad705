// The keys of `candor grpo`: every member of GrpoConfig, once.
#include "recipes/grpo_config.h"

namespace candor::recipes {
namespace {

constexpr double kMaxTokens = 1 << 24;  // no context is longer; keeps products of two such numbers far from overflow
constexpr double kMaxRows = 1 << 20;

void add_model_and_data(FieldList& list, GrpoConfig& c) {
  list.section(Heading::kResults, "Model and data");
  list.add("model_name_or_path", &c.model_name_or_path,
           "the model: a Hugging Face directory, a GGUF file, hub:OWNER/NAME or a bundled name (smollm2)",
           {.required = true});
  list.add("adapter_name_or_path", &c.adapter_name_or_path, "a PEFT adapter to start from instead of a new one");
  list.add("dataset_name", &c.dataset_name, "the prompts: JSONL, JSON or CSV with a prompt or messages column",
           {.required = true});
  list.add("eval_dataset", &c.eval_dataset, "rows to evaluate on, never trained on");
  list.add("shuffle_dataset", &c.shuffle_dataset, "draw the prompts in an order that the seed decides");
  list.add("seed", &c.seed, "of the sampler, the order of prompts and the adapter's first values",
           {.range = between(0, 9007199254740992.0)});
}

void add_batch(FieldList& list, GrpoConfig& c) {
  list.section(Heading::kResults, "Length of the run and its batch");
  list.add("max_steps", &c.max_steps, "optimizer steps; -1 leaves it to num_train_epochs",
           {.unit = "steps", .range = between(-1, 1e9)});
  list.add("num_train_epochs", &c.num_train_epochs, "passes over the prompts, where max_steps is -1",
           {.unit = "epochs", .range = above_up_to(0, 1e6)});
  list.add("per_device_train_batch_size", &c.per_device_train_batch_size, "completions in a batch, as in TRL",
           {.unit = "completions", .range = between(1, kMaxRows)});
  list.add("gradient_accumulation_steps", &c.gradient_accumulation_steps, "batches in an optimizer step",
           {.unit = "batches", .range = between(1, kMaxRows)});
  list.add("num_generations", &c.num_generations, "completions of one prompt (its group)",
           {.unit = "completions", .range = between(2, kMaxRows)});
  list.add("gradient_shards", &c.gradient_shards,
           "contiguous parts of a step whose gradients are added in a fixed tree; at most one per group",
           {.unit = "shards", .range = between(1, 1024)});
}

void add_sampling(FieldList& list, GrpoConfig& c) {
  list.section(Heading::kResults, "Sampling");
  list.add("max_completion_length", &c.max_completion_length, "longest completion, its stop token included",
           {.unit = "tokens", .range = between(1, kMaxTokens)});
  list.add("max_prompt_length", &c.max_prompt_length, "a longer prompt stops the run",
           {.unit = "tokens", .range = between(1, kMaxTokens), .without = "what the context leaves"});
  list.add("temperature", &c.temperature, "of the sampler and of the policy that trains",
           {.range = above_up_to(0, 100)});
  list.add("top_k", &c.top_k, "sample from the k likeliest tokens; 0 from all",
           {.unit = "tokens", .range = between(0, kMaxTokens)});
  list.add("top_p", &c.top_p, "sample from the fewest tokens whose probabilities reach this sum",
           {.range = above_up_to(0, 1)});
  list.add("stop", &c.stop, "texts that end a completion");
}

void add_loss(FieldList& list, GrpoConfig& c) {
  list.section(Heading::kResults, "Loss");
  list.add("loss_type", &c.loss_type,
           "how the loss averages: over the step's tokens (dapo), per completion first (grpo), by "
           "max_completion_length (dr_grpo)",
           {.choices = {"dapo", "grpo", "dr_grpo"}});
  list.add("scale_rewards", &c.scale_rewards,
           "what an advantage is divided by: the group's deviation, the batch's, nothing",
           {.choices = {"group", "batch", "none"},
            .other_names = {{"true", "group"}, {"True", "group"}, {"false", "none"}, {"False", "none"}}});
  list.add("epsilon", &c.epsilon, "the ratio is clipped below 1 - epsilon", {.range = between(0, 1)});
  list.add("epsilon_high", &c.epsilon_high, "the ratio is clipped above 1 + epsilon_high",
           {.range = at_least(0), .without = "epsilon"});
  list.add("delta", &c.delta, "upper bound of the ratio where the advantage is negative (two-sided clipping)",
           {.range = above(1), .without = "no bound"});
  list.add("beta", &c.beta, "weight of the KL to the reference, which is the model with the new adapter off",
           {.range = at_least(0)});
  list.add("kl_placement", &c.kl_placement, "where the KL counts: as a term of the loss or taken from the reward",
           {.choices = {"loss", "reward"}});
  list.add("kl_estimator", &c.kl_estimator, "its estimate per token: log-ratio (k1), half its square (k2), TRL's (k3)",
           {.choices = {"k1", "k2", "k3"}});
  list.add("use_bias_correction_kl", &c.use_bias_correction_kl, "k3 in the loss is multiplied by the policy's ratio");
}

void add_rewards(FieldList& list, GrpoConfig& c) {
  list.section(Heading::kResults, "Rewards");
  list.add("reward_funcs", &c.reward_funcs, "what a completion is rewarded for",
           {.choices = {"accuracy", "format", "length", "overlong"}, .required = true});
  list.add("reward_weights", &c.reward_weights, "one for each of reward_funcs; empty is 1 for all");
  list.add("multi_objective_aggregation", &c.multi_objective_aggregation,
           "whether several rewards are added before or after each is normalised",
           {.choices = {"sum_then_normalize", "normalize_then_sum"}});
  list.add("accuracy_extraction", &c.accuracy_extraction,
           "where accuracy finds the answer: last_number, boxed, gsm8k (after ####), exact or regex:PATTERN");
  list.add("format_regex", &c.format_regex, "format gives 1 where the whole completion matches this");
  list.add("length_reward", &c.length_reward, "nearness to length_target, or more for longer completions (a drill)",
           {.choices = {"target", "longer"}});
  list.add("length_target", &c.length_target, "what length aims at",
           {.unit = "tokens", .range = between(1, kMaxTokens)});
  list.add("overlong_max", &c.overlong_max, "overlong gives -1 from here on",
           {.unit = "tokens", .range = between(1, kMaxTokens), .without = "max_completion_length"});
  list.add("overlong_cache", &c.overlong_cache, "overlong falls from 0 to -1 over these last tokens",
           {.unit = "tokens", .range = between(1, kMaxTokens)});
}

void add_optimizer(FieldList& list, GrpoConfig& c) {
  list.section(Heading::kResults, "Optimizer (AdamW)");
  list.add("learning_rate", &c.learning_rate, "peak step size; adapters take about ten times that of full fine-tuning",
           {.range = at_least(0)});
  list.add("lr_scheduler_type", &c.lr_scheduler_type, "its course after warm-up",
           {.choices = {"linear", "cosine", "constant", "constant_with_warmup"}});
  list.add("warmup_steps", &c.warmup_steps, "steps of linear warm-up; below 1 a share of the run",
           {.unit = "steps", .range = at_least(0)});
  list.add("warmup_ratio", &c.warmup_ratio, "warm-up as a share of the run", {.range = between(0, 1)});
  list.add("adam_beta1", &c.adam_beta1, "decay of the mean of gradients", {.range = between(0, 1)});
  list.add("adam_beta2", &c.adam_beta2, "decay of the mean of squared gradients", {.range = between(0, 1)});
  list.add("adam_epsilon", &c.adam_epsilon, "added to the root of that mean", {.range = at_least(0)});
  list.add("weight_decay", &c.weight_decay, "decoupled decay, times the learning rate", {.range = at_least(0)});
  list.add("max_grad_norm", &c.max_grad_norm, "longer gradients are scaled down to this; 0 never",
           {.range = at_least(0)});
}

void add_adapter(FieldList& list, GrpoConfig& c) {
  list.section(Heading::kResults, "Adapter (LoRA)");
  list.add("use_peft", &c.use_peft, "train an adapter; true by itself where an lora_* key is given");
  list.add("lora_r", &c.lora_r, "rank", {.range = between(1, 4096)});
  list.add("lora_alpha", &c.lora_alpha, "the adapter is scaled by alpha / r", {.range = above(0)});
  list.add("lora_dropout", &c.lora_dropout, "only 0: dropout would part training from sampling",
           {.range = between(0, 1)});
  list.add("lora_target_modules", &c.lora_target_modules,
           "all-linear, a list of names, or a regular expression on module paths");
  list.add("use_rslora", &c.use_rslora, "scale by alpha / sqrt(r)");
}

void add_speed(FieldList& list, GrpoConfig& c) {
  list.section(Heading::kSpeed, "");
  list.add("threads", &c.threads, "worker threads; 0 takes the cores this process may use",
           {.range = between(0, 4096)});
  list.add("micro_batch_tokens", &c.micro_batch_tokens,
           "tokens of one forward and backward pass; 0 leaves it to the engine",
           {.unit = "tokens", .range = between(0, kMaxTokens)});
  list.add("generation_rows", &c.generation_rows, "completions sampled side by side; 0 leaves it to the engine",
           {.unit = "completions", .range = between(0, kMaxRows)});
}

void add_record(FieldList& list, GrpoConfig& c) {
  list.section(Heading::kRecord, "");
  list.add("output_dir", &c.output_dir, "the run's folder", {.required = true});
  list.add("resume_from_checkpoint", &c.resume_from_checkpoint,
           "true goes on from the folder's newest complete checkpoint, auto does so or starts where there is none",
           {.choices = {"false", "true", "auto"},
            .other_names = {{"False", "false"}, {"True", "true"}, {"null", "false"}, {"None", "false"}}});
  list.add("resume_on_other_kernels", &c.resume_on_other_kernels,
           "go on from a checkpoint that another kernel level wrote, though the last bits will differ");
  list.add("overwrite_output_dir", &c.overwrite_output_dir, "replace a run that the folder already holds");
  list.add("logging_steps", &c.logging_steps, "steps between lines in the terminal; metrics.jsonl has every step",
           {.unit = "steps", .range = between(1, 1e9)});
  list.add("eval_strategy", &c.eval_strategy,
           "steps evaluates every eval_steps; steps by itself where eval_steps is given", {.choices = {"no", "steps"}});
  list.add("eval_steps", &c.eval_steps, "steps between evaluations",
           {.unit = "steps", .range = between(1, 1e9), .without = "logging_steps"});
  list.add("eval_on_start", &c.eval_on_start, "evaluate before the first step");
  list.add("save_strategy", &c.save_strategy, "steps saves a checkpoint every save_steps",
           {.choices = {"no", "steps"}});
  list.add("save_steps", &c.save_steps, "steps between checkpoints", {.unit = "steps", .range = between(1, 1e9)});
  list.add("save_total_limit", &c.save_total_limit, "checkpoints to keep, the newest",
           {.range = between(1, 1e9), .without = "all"});
  list.add("log_completions", &c.log_completions, "print completions in the terminal");
  list.add("num_completions_to_print", &c.num_completions_to_print, "how many of a step",
           {.range = between(1, kMaxRows), .without = "all"});
}

}  // namespace

FieldList grpo_fields(GrpoConfig& config) {
  FieldList list;
  add_model_and_data(list, config);
  add_batch(list, config);
  add_sampling(list, config);
  add_loss(list, config);
  add_rewards(list, config);
  add_optimizer(list, config);
  add_adapter(list, config);
  add_speed(list, config);
  add_record(list, config);
  return list;
}

}  // namespace candor::recipes
