// What GKDConfig and MiniLLMConfig add to the keys of every trainer.
#include "recipes/trl_keys.h"

namespace candor::recipes {

void add_distill_keys(std::vector<TrlKey>& keys) {
  for (const std::string_view key : {"max_length",
                                     "truncation_mode",
                                     "completion_only_loss",
                                     "assistant_only_loss",
                                     "dataset_text_field",
                                     "chat_template_path",
                                     "load_best_model_at_end",
                                     "metric_for_best_model",
                                     "greater_is_better",
                                     "teacher_model_name_or_path",
                                     "lmbda",
                                     "beta",
                                     "temperature",
                                     "max_new_tokens",
                                     "seq_kd",
                                     "loss_type",
                                     "kd_temperature",
                                     "rkl_advantage",
                                     "single_step_decomposition",
                                     "gamma",
                                     "length_normalization"})
    keys.push_back({key, TrlHandling::kSupported, ""});
  keys.push_back({"padding_free", TrlHandling::kWithoutMeaning, "rows are ragged always, so nothing is padded"});
  keys.push_back({"pad_token", TrlHandling::kWithoutMeaning, "rows are ragged always, so nothing is padded"});
  const auto refused = [&](std::string_view name, std::string_view note, std::vector<std::string_view> inert) {
    keys.push_back({name, TrlHandling::kRefused, note, std::move(inert)});
  };
  refused("teacher_model_init_kwargs", "settings of a PyTorch model", {"null"});
  refused("teacher_model_revision", "give the directory of that revision as teacher_model_name_or_path", {"null"});
  refused("dataset_kwargs", "settings of TRL's own dataset code", {"null"});
  refused("eos_token", "another end of text than the model's", {"null"});
}

}  // namespace candor::recipes
