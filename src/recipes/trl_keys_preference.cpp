// TRL 1.16's DPOConfig, CPOConfig, ORPOConfig, KTOConfig and RewardConfig, and BCOConfig and PRMConfig of 1.13.
#include "recipes/trl_keys.h"

namespace candor::recipes {

void add_preference_keys(std::string_view recipe, std::vector<TrlKey>& keys) {
  const auto supported = [&](std::initializer_list<std::string_view> names) {
    for (const auto name : names) keys.push_back({name, TrlHandling::kSupported, ""});
  };
  const auto ignored = [&](std::string_view note, std::initializer_list<std::string_view> names) {
    for (const auto name : names) keys.push_back({name, TrlHandling::kWithoutMeaning, note});
  };
  const auto refused = [&](std::string_view name, std::string_view note, std::vector<std::string_view> inert) {
    keys.push_back({name, TrlHandling::kRefused, note, std::move(inert)});
  };
  supported({"max_length", "truncation_mode", "chat_template_path", "load_best_model_at_end", "metric_for_best_model",
             "greater_is_better"});
  ignored("rows are ragged always, so nothing is padded", {"padding_free", "pad_token", "padding_value"});
  ignored("there is one memory", {"activation_offloading"});
  ignored("models here are decoders alone", {"is_encoder_decoder"});
  const bool has_reference = recipe == "dpo" || recipe == "kto";
  if (has_reference) {
    ignored("the reference's passes are as large as the rows allow", {"precompute_ref_batch_size"});
    refused("sync_ref_model", "a moving reference; the reference is the model as it was", {"false"});
    refused("ref_model_mixup_alpha", "a moving reference", {"0.6"});
    refused("ref_model_sync_steps", "a moving reference", {"512"});
  }
  if (recipe == "cpo" || recipe == "orpo" || recipe == "kto")
    refused("generate_during_eval", "completions of held-out prompts while training", {"false"});
  if (recipe != "reward") {
    refused("max_prompt_length", "a bound on prompts alone; max_length bounds both together",
            recipe == "prm" ? std::vector<std::string_view>{"null", "512"} : std::vector<std::string_view>{"null"});
    refused("max_completion_length", "a bound on completions alone; max_length bounds both together", {"null"});
  }
  if (recipe == "dpo") {
    supported({"loss_type", "loss_weights", "beta", "label_smoothing", "f_divergence_type", "f_alpha_divergence_coef",
               "ld_alpha", "discopop_tau", "precompute_ref_log_probs", "use_weighting"});
  } else if (recipe == "cpo") {
    supported({"loss_type", "beta", "label_smoothing", "cpo_alpha", "simpo_gamma", "alpha"});
  } else if (recipe == "orpo") {
    supported({"beta"});
  } else if (recipe == "kto") {
    supported({"loss_type", "beta", "desirable_weight", "undesirable_weight"});
    ignored("the reference is computed in every step", {"precompute_ref_log_probs"});
    ignored("BCO's density ratios, for which a classifier of prompts is needed, are not here",
            {"prompt_sample_size", "min_density_ratio", "max_density_ratio"});
  } else if (recipe == "prm") {
    supported({"step_separator", "train_on_last_step_only"});
  } else {
    supported({"center_rewards_coefficient"});
    refused("eos_token", "another end of text than the model's", {"null"});
  }
}

}  // namespace candor::recipes
