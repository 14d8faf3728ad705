#include "recipes/trl_keys.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

namespace candor::recipes {
namespace {

// What every TRL trainer takes: Transformers' arguments, ModelConfig and ScriptArguments.
void add_shared(std::vector<TrlKey>& keys) {
  const auto supported = [&](std::initializer_list<std::string_view> names) {
    for (const auto name : names) keys.push_back({name, TrlHandling::kSupported, ""});
  };
  supported({"model_name_or_path", "dtype", "load_in_8bit", "load_in_4bit", "dataset_name", "output_dir",
             "resume_from_checkpoint", "seed", "shuffle_dataset"});
  supported({"max_steps", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps"});
  supported({"learning_rate", "lr_scheduler_type", "warmup_steps", "warmup_ratio", "adam_beta1", "adam_beta2",
             "adam_epsilon", "weight_decay", "max_grad_norm"});
  supported({"use_peft", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "use_rslora", "use_dora",
             "lora_modules_to_save"});
  supported({"logging_steps", "eval_steps", "eval_strategy", "eval_on_start", "save_strategy", "save_steps",
             "save_total_limit"});
  supported({"gradient_checkpointing"});

  const auto ignored = [&](std::string_view note, std::initializer_list<std::string_view> names) {
    for (const auto name : names) keys.push_back({name, TrlHandling::kWithoutMeaning, note});
  };
  ignored("the run folder holds metrics.jsonl, summary.json and report.html",
          {"report_to", "run_name", "project", "trackio_*", "log_level", "log_level_replica", "log_on_each_node",
           "logging_strategy", "logging_first_step", "logging_nan_inf_filter", "logging_dir", "disable_tqdm",
           "include_num_input_tokens_seen", "skip_memory_metrics", "debug", "include_for_metrics"});
  ignored("the engine chooses its own arithmetic from what the model file holds",
          {"bf16", "fp16", "tf32", "bf16_full_eval", "fp16_full_eval", "use_cpu", "attn_implementation",
           "cast_lm_head_to_fp32", "torch_dtype"});
  ignored("rows are ragged and read by the engine itself",
          {"dataloader_*", "remove_unused_columns", "pad_to_multiple_of", "label_names", "length_column_name",
           "group_by_length", "dataset_num_proc", "disable_dropout"});
  ignored("it only moves memory or speed in PyTorch; micro_batch_tokens, gradient_checkpointing and threads do so here",
          {"gradient_checkpointing_kwargs",
           "activation_checkpointing",
           "activation_checkpointing_kwargs",
           "torch_compile",
           "torch_compile_backend",
           "torch_compile_mode",
           "use_liger_kernel",
           "liger_kernel_config",
           "torch_empty_cache_steps",
           "auto_find_batch_size",
           "per_device_eval_batch_size",
           "eval_accumulation_steps",
           "eval_do_concat_batches",
           "eval_use_gather_object",
           "batch_eval_metrics",
           "prediction_loss_only",
           "accelerator_config",
           "parallelism_config",
           "ddp_*",
           "fsdp*",
           "deepspeed",
           "local_rank",
           "average_tokens_across_devices",
           "ignore_bias_buffers"});
  ignored("a run never uploads", {"push_to_hub", "hub_*"});
  ignored("runs are bit-exact always", {"full_determinism"});
  ignored("the verb says what is done", {"do_train", "do_eval", "do_predict", "lora_task_type"});
  ignored("checkpoints are complete always, so that a resume reaches the same bytes",
          {"save_only_model", "save_on_each_node", "enable_jit_checkpoint", "save_safetensors",
           "restore_callback_states_from_checkpoint", "ignore_data_skip"});
  ignored("no model's code is run from its directory", {"trust_remote_code"});

  const auto refused = [&](std::string_view name, std::string_view note, std::vector<std::string_view> inert) {
    keys.push_back({name, TrlHandling::kRefused, note, std::move(inert)});
  };
  refused("router_aux_loss_coef", "a mixture-of-experts loss", {"null", "0"});
  refused("model_init_kwargs", "settings of a PyTorch model", {"null"});
  refused("model_revision", "give the directory of that revision as model_name_or_path", {"main", "null"});
  refused("bnb_4bit_quant_type", "another kind of 4-bit weights", {"nf4"});
  refused("use_bnb_nested_quant", "another kind of 4-bit weights", {"false"});
  refused("bnb_4bit_quant_storage", "another kind of 4-bit weights", {"null"});
  refused("lora_target_parameters", "adapters on bare parameters", {"null"});
  refused("optim", "another optimizer than AdamW", {"adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw"});
  refused("optim_args", "settings of another optimizer", {"null"});
  refused("optim_target_modules", "settings of another optimizer", {"null"});
  refused("lr_scheduler_kwargs", "settings of other schedules", {"null"});
  refused("label_smoothing_factor", "label smoothing", {"0"});
  refused("neftune_noise_alpha", "noise on the embeddings", {"null"});
  refused("data_seed", "an own seed for the order of rows; seed sets both", {"null"});
  refused("train_sampling_strategy", "another order of rows; shuffle_dataset true or false", {"random"});
  refused("eval_delay", "a late first evaluation", {"0"});
  refused("datasets", "a mixture of datasets; join them into one file", {"null"});
  refused("dataset_config", "a configuration of a hub dataset; give a file", {"null"});
  refused("dataset_train_split", "a split of a hub dataset; give a file", {"train"});
  refused("dataset_test_split", "a split of a hub dataset; give a file as eval_dataset", {"test"});
  refused("dataset_streaming", "a streamed dataset", {"false"});
  refused("streaming", "a streamed dataset", {"false"});
  refused("test_split_size", "a split made on the fly; give a file as eval_dataset", {"null"});
}

void add_best_model(std::vector<TrlKey>& keys) {
  for (const std::string_view key : {"load_best_model_at_end", "metric_for_best_model", "greater_is_better"})
    keys.push_back({key, TrlHandling::kSupported, ""});
}

// What GRPOConfig and RLOOConfig add alike.
void add_rollouts(std::vector<TrlKey>& keys) {
  for (const std::string_view key : {"num_generations", "max_completion_length", "temperature", "top_k", "top_p",
                                     "min_p", "repetition_penalty", "beta", "epsilon", "epsilon_high", "reward_funcs",
                                     "reward_weights", "log_completions", "num_completions_to_print", "num_iterations",
                                     "steps_per_generation", "generation_batch_size", "mask_truncated_completions"})
    keys.push_back({key, TrlHandling::kSupported, ""});
  add_best_model(keys);

  const auto ignored = [&](std::string_view note, std::initializer_list<std::string_view> names) {
    for (const auto name : names) keys.push_back({name, TrlHandling::kWithoutMeaning, note});
  };
  ignored("rollouts are sampled by the engine that trains, so there is no second one to configure",
          {"use_vllm", "vllm_*", "use_transformers_continuous_batching", "transformers_continuous_batching_config",
           "use_transformers_paged", "cache_implementation", "use_cache", "ds3_gather_for_generation"});
  ignored("the run folder holds metrics.jsonl, summary.json and report.html", {"log_unique_prompts", "log_multimodal"});
  ignored("a run never uploads", {"log_completions_hub_repo"});

  const auto refused = [&](std::string_view name, std::string_view note, std::vector<std::string_view> inert) {
    keys.push_back({name, TrlHandling::kRefused, note, std::move(inert)});
  };
  refused("num_generations_eval", "evaluation answers each row once greedily and once sampled", {"null"});
  refused("sync_ref_model", "a moving reference; the reference is the base model", {"false"});
  refused("ref_model_mixup_alpha", "a moving reference", {"0.6"});
  refused("ref_model_sync_steps", "a moving reference", {"512"});
  refused("generation_kwargs", "further sampling settings; give them under their own keys", {"null"});
  refused("vllm_structured_outputs_regex", "completions held to a regular expression", {"null"});
  refused("chat_template_kwargs", "variables of the chat template", {"null"});
  refused("max_tool_calling_iterations", "tool calls", {"null"});
  refused("reward_model_name_or_path", "a reward model; name it in reward_funcs", {"null"});
}

// What only GRPOConfig adds.
void add_grpo(std::vector<TrlKey>& keys) {
  add_rollouts(keys);
  for (const std::string_view key : {"use_bias_correction_kl",
                                     "delta",
                                     "loss_type",
                                     "scale_rewards",
                                     "multi_objective_aggregation",
                                     "importance_sampling_level",
                                     "sapo_temperature_pos",
                                     "sapo_temperature_neg",
                                     "vespo_k_pos",
                                     "vespo_lambda_pos",
                                     "vespo_k_neg",
                                     "vespo_lambda_neg",
                                     "off_policy_mask_threshold",
                                     "top_entropy_quantile",
                                     "entropy_coef",
                                     "use_adaptive_entropy",
                                     "entropy_coef_min",
                                     "entropy_coef_max",
                                     "entropy_coef_delta",
                                     "entropy_target"})
    keys.push_back({key, TrlHandling::kSupported, ""});
}

void add_rloo(std::vector<TrlKey>& keys) {
  add_rollouts(keys);
  for (const std::string_view key : {"normalize_advantages", "reward_clip_range"})
    keys.push_back({key, TrlHandling::kSupported, ""});
}

// What OnlineDPOConfig adds, but for its loss_type.
void add_pairs(std::vector<TrlKey>& keys) {
  for (const std::string_view key :
       {"max_new_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "missing_eos_penalty", "beta",
        "reward_funcs", "reward_weights", "reward_model_path"})
    keys.push_back({key, TrlHandling::kSupported, ""});
  add_best_model(keys);
  for (const std::string_view key : {"use_vllm", "vllm_*", "cache_implementation", "ds3_gather_for_generation"})
    keys.push_back({key, TrlHandling::kWithoutMeaning,
                    "rollouts are sampled by the engine that trains, so there is no second one to configure"});
  keys.push_back({"max_length",
                  TrlHandling::kRefused,
                  "a cut from the left; max_prompt_length bounds the prompt, max_new_tokens the completion",
                  {"512"}});
  keys.push_back({"generation_kwargs",
                  TrlHandling::kRefused,
                  "further sampling settings; give them under their own keys",
                  {"null"}});
  keys.push_back(
      {"vllm_structured_outputs_regex", TrlHandling::kRefused, "completions held to a regular expression", {"null"}});
  keys.push_back({"judge", TrlHandling::kRefused, "a judge; rewards choose the better completion", {"null"}});
}

void add_online_dpo(std::vector<TrlKey>& keys) {
  add_pairs(keys);
  keys.push_back({"loss_type", TrlHandling::kSupported, ""});
}

// And XPOConfig to that.
void add_xpo(std::vector<TrlKey>& keys) {
  add_online_dpo(keys);
  keys.push_back({"alpha", TrlHandling::kSupported, ""});
}

// NashMDConfig inherits a loss_type that its trainer never reads.
void add_nash_md(std::vector<TrlKey>& keys) {
  add_pairs(keys);
  keys.push_back({"mixture_coef", TrlHandling::kSupported, ""});
  keys.push_back({"loss_type", TrlHandling::kWithoutMeaning, "Nash-MD has one loss"});
}

// What SFTConfig adds.
void add_sft(std::vector<TrlKey>& keys) {
  std::erase_if(keys, [](const TrlKey& known) { return known.key == "label_smoothing_factor"; });  // supported here
  keys.push_back({"label_smoothing_factor", TrlHandling::kSupported, ""});
  for (const std::string_view key :
       {"max_length", "truncation_mode", "packing", "packing_strategy", "eval_packing", "completion_only_loss",
        "assistant_only_loss", "loss_type", "dataset_text_field", "chat_template_path"})
    keys.push_back({key, TrlHandling::kSupported, ""});
  add_best_model(keys);
  keys.push_back({"padding_free", TrlHandling::kWithoutMeaning, "rows are ragged always, so nothing is padded"});
  keys.push_back({"pad_token", TrlHandling::kWithoutMeaning, "rows are ragged always, so nothing is padded"});
  keys.push_back({"activation_offloading", TrlHandling::kWithoutMeaning, "there is one memory"});
  keys.push_back({"dataset_kwargs", TrlHandling::kRefused, "settings of TRL's own dataset code", {"null"}});
  keys.push_back({"eos_token", TrlHandling::kRefused, "another end of text than the model's", {"null"}});
}

// What PPOConfig (TRL 1.12) adds.
void add_ppo(std::vector<TrlKey>& keys) {
  for (const std::string_view key :
       {"num_mini_batches", "total_episodes", "response_length", "stop_token", "stop_token_id", "temperature",
        "missing_eos_penalty", "reward_model_path", "num_ppo_epochs", "whiten_rewards", "kl_coef", "kl_estimator",
        "cliprange", "vf_coef", "cliprange_value", "gamma", "lam"})
    keys.push_back({key, TrlHandling::kSupported, ""});
  add_best_model(keys);
  const auto ignored = [&](std::string_view note, std::initializer_list<std::string_view> names) {
    for (const auto name : names) keys.push_back({name, TrlHandling::kWithoutMeaning, note});
  };
  ignored("passes are as long as the memory plan allows", {"local_rollout_forward_batch_size"});
  ignored("completions.jsonl holds every completion", {"num_sample_generations"});
  ignored("they follow from per_device_train_batch_size, gradient_accumulation_steps and num_mini_batches",
          {"world_size", "num_total_batches", "micro_batch_size", "local_batch_size", "batch_size",
           "local_mini_batch_size", "mini_batch_size"});
  ignored("the run folder has the name", {"exp_name"});
  ignored("there is no such stage here", {"ds3_gather_for_generation"});
  ignored("adapters have no names here", {"model_adapter_name", "ref_adapter_name"});
  keys.push_back({"sft_model_path",
                  TrlHandling::kRefused,
                  "the policy's start; name a model as model_name_or_path, an adapter as adapter_name_or_path",
                  {"null"}});
}

std::optional<double> as_number(std::string_view text) {
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string canonical(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower == "none" || lower == "~" || lower.empty() ? "null" : lower;
}

}  // namespace

const std::vector<TrlKey>& trl_keys(std::string_view recipe) {
  static const std::map<std::string_view, std::vector<TrlKey>> lists = [] {
    std::map<std::string_view, std::vector<TrlKey>> all;
    for (const std::string_view name : kTrlRecipes) add_shared(all[name]);
    add_grpo(all["grpo"]);
    add_rloo(all["rloo"]);
    add_online_dpo(all["online_dpo"]);
    add_xpo(all["xpo"]);
    add_nash_md(all["nash_md"]);
    add_ppo(all["ppo"]);
    add_sft(all["sft"]);
    for (const std::string_view name : {"dpo", "cpo", "orpo", "kto", "reward", "prm"})
      add_preference_keys(name, all[name]);
    add_distill_keys(all["distill"]);
    return all;
  }();
  return lists.at(recipe);
}

const TrlKey* find_trl_key(std::string_view recipe, std::string_view key) {
  if (std::find(std::begin(kTrlRecipes), std::end(kTrlRecipes), recipe) == std::end(kTrlRecipes)) return nullptr;
  const std::vector<TrlKey>& keys = trl_keys(recipe);
  for (const TrlKey& known : keys)
    if (known.key == key) return &known;
  for (const TrlKey& known : keys)
    if (known.key.ends_with('*') && key.starts_with(known.key.substr(0, known.key.size() - 1))) return &known;
  return nullptr;
}

std::vector<std::string_view> other_recipes_with(std::string_view recipe, std::string_view key) {
  std::vector<std::string_view> others;
  for (const std::string_view name : kTrlRecipes)
    if (name != recipe && find_trl_key(name, key) != nullptr) others.push_back(name);
  return others;
}

bool is_inert(const TrlKey& known, std::string_view value) {
  const std::string given = canonical(value);
  return std::any_of(known.inert.begin(), known.inert.end(), [&](std::string_view inert) {
    const auto a = as_number(inert), b = as_number(given);
    return given == inert || (a && b && *a == *b);
  });
}

}  // namespace candor::recipes
