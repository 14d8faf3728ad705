#include "files/peft_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace candor::files {

namespace {

// Read here.
constexpr std::array<std::string_view, 17> kRead = {"peft_type",
                                                    "r",
                                                    "lora_alpha",
                                                    "use_rslora",
                                                    "lora_dropout",
                                                    "target_modules",
                                                    "layers_to_transform",
                                                    "bias",
                                                    "init_lora_weights",
                                                    "base_model_name_or_path",
                                                    "modules_to_save",
                                                    "qalora_group_size",
                                                    "use_dora",
                                                    "fan_in_fan_out",
                                                    "rank_pattern",
                                                    "alpha_pattern",
                                                    "layers_pattern"};

// They say where and with what the adapter was made, not what it computes.
constexpr std::array<std::string_view, 7> kInert = {
    "inference_mode", "peft_version", "megatron_config", "megatron_core", "task_type", "auto_mapping", "revision"};

// PEFT's other keys: each changes the result when it is set.
constexpr std::array<std::string_view, 17> kUnsupported = {"lora_bias",
                                                           "use_qalora",
                                                           "layer_replication",
                                                           "exclude_modules",
                                                           "target_parameters",
                                                           "trainable_token_indices",
                                                           "alora_invocation_tokens",
                                                           "arrow_config",
                                                           "corda_config",
                                                           "eva_config",
                                                           "kasa_config",
                                                           "loftq_config",
                                                           "lora_ga_config",
                                                           "monteclora_config",
                                                           "use_bdlora",
                                                           "velora_config",
                                                           "ensure_weight_tying"};

bool contains(const auto& list, std::string_view key) {
  return std::find(list.begin(), list.end(), key) != list.end();
}

bool changes_nothing(const Json& value) {
  return value.is_null() || value == false || ((value.is_structured() || value.is_string()) && value.empty()) ||
         value == "";
}

std::string shown(const Json& value) {
  return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60);
}

Result<void> check_keys(const Json& json, const std::string& name) {
  for (const auto& [key, value] : json.items()) {
    if (contains(kRead, key) || contains(kInert, key) || changes_nothing(value)) continue;
    if (contains(kUnsupported, key))
      return error("[{}] \"{}\" is {}, which is not supported yet.", name, key, shown(value));
    return error("[{}] \"{}\" is {} and not known; it may change the result, so it is not ignored.", name, key,
                 shown(value));
  }
  return {};
}

Result<LoraInit> read_initialisation(const Json& value, const std::string& name) {
  if (value == "pissa" || (value.is_string() && value.get<std::string>().starts_with("pissa_niter_")))
    return LoraInit::kPissa;
  if (value == "gaussian") return LoraInit::kGaussian;
  if (value == false) return LoraInit::kRandom;
  // Like those above, these only say where A and B started. The others (olora, corda, loftq, …) also change the base.
  for (const char* harmless : {"eva", "orthogonal", "default"})
    if (value == harmless) return LoraInit::kDefault;
  if (value.is_null() || value == true) return LoraInit::kDefault;
  return error(
      "[{}] init_lora_weights is {}, which is not supported yet: such an adapter belongs to changed base weights. "
      "Convert it to plain LoRA with PEFT first.",
      name, shown(value));
}

// An object of patterns and numbers that `good` accepts.
template <typename Number>
Result<std::vector<std::pair<std::string, Number>>> read_patterns(const Json& value, const char* key,
                                                                  const std::string& name, const char* expected,
                                                                  bool (*good)(const Json& number)) {
  std::vector<std::pair<std::string, Number>> patterns;
  if (changes_nothing(value)) return patterns;
  bool all_good = value.is_object();
  if (all_good)
    for (const auto& [pattern, number] : value.items()) {
      all_good = all_good && good(number);
      if (all_good) patterns.emplace_back(pattern, number.template get<Number>());
    }
  if (!all_good)
    return error("[{}] {} is {}; regular expressions with {} are expected.", name, key, shown(value), expected);
  return patterns;
}

Result<bool> read_bool(const Json& value, const char* key, const std::string& name) {
  if (value.is_null()) return false;
  if (value.is_boolean()) return value.get<bool>();
  return error("[{}] {} is {}; true or false is expected.", name, key, shown(value));
}

bool is_rank(const Json& value) {
  return value.is_number_integer() && value.get<int64_t>() >= 1 && value.get<int64_t>() <= (1 << 16);
}

bool is_finite(const Json& value) {
  return value.is_number() && std::isfinite(value.get<double>());
}

Result<void> read_targets(const Json& value, LoraConfig& config, const std::string& name) {
  if (value.is_string()) {
    std::string text = value.get<std::string>();
    std::string lower = text;
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (lower == "all-linear")
      config.target_modules = {"all-linear"};
    else
      config.target_regex = std::move(text);
    return {};
  }
  bool good = value.is_array() && !value.empty();
  if (good) {
    for (const Json& item : value) {
      good = good && item.is_string() && !item.get<std::string>().empty();
      if (good) config.target_modules.push_back(item.get<std::string>());
    }
  }
  if (!good)
    return error("[{}] target_modules is {}; a list of names or a regular expression is expected.", name, shown(value));
  return {};
}

Result<std::vector<std::string>> read_names(const Json& value, const char* key, const std::string& name) {
  std::vector<std::string> names;
  if (changes_nothing(value)) return names;
  bool good = value.is_array();
  for (const Json& item : value) {
    good = good && item.is_string() && !item.get<std::string>().empty();
    if (good) names.push_back(item.get<std::string>());
  }
  if (!good) return error("[{}] {} is {}; a list of names is expected.", name, key, shown(value));
  return names;
}

Result<void> read_layers(const Json& value, LoraConfig& config, const std::string& name) {
  if (value.is_null()) return {};
  const Json list = value.is_array() ? value : Json::array({value});
  for (const Json& item : list) {
    if (!item.is_number_integer() || item.get<int64_t>() < 0) {
      return error("[{}] layers_to_transform is {}; layer numbers are expected.", name, shown(value));
    }
    config.layers_to_transform.push_back(item.get<int64_t>());
  }
  return {};
}

}  // namespace

Result<LoraConfig> lora_config_from_json(const Json& json, const std::string& name) {
  if (!json.is_object()) return error("[{}] is no JSON object.", name);
  auto field = [&](const char* key) { return json.contains(key) ? json[key] : Json(); };
  const Json type = field("peft_type");
  if (type != "LORA") return error("[{}] peft_type is {}, which is not supported yet: \"LORA\" is.", name, shown(type));
  TRY(check_keys(json, name));
  if (const Json bias = field("bias"); !bias.is_null() && bias != "none") {
    return error("[{}] bias is {}, which is not supported yet: \"none\" is.", name, shown(bias));
  }
  LoraConfig config;
  config.init = TRY(read_initialisation(field("init_lora_weights"), name));
  const Json r = field("r"), alpha = field("lora_alpha"), dropout = field("lora_dropout");
  if (!is_rank(r)) return error("[{}] r is {}; a rank of at least 1 is expected.", name, shown(r));
  config.r = r.get<int64_t>();
  if (!is_finite(alpha)) return error("[{}] lora_alpha is {}; a number is expected.", name, shown(alpha));
  config.alpha = alpha.get<double>();
  config.rank_pattern = TRY(read_patterns<int64_t>(field("rank_pattern"), "rank_pattern", name, "ranks", is_rank));
  config.alpha_pattern =
      TRY(read_patterns<double>(field("alpha_pattern"), "alpha_pattern", name, "numbers", is_finite));
  config.use_rslora = TRY(read_bool(field("use_rslora"), "use_rslora", name));
  config.use_dora = TRY(read_bool(field("use_dora"), "use_dora", name));
  config.fan_in_fan_out = TRY(read_bool(field("fan_in_fan_out"), "fan_in_fan_out", name));
  if (!dropout.is_null()) {
    if (!dropout.is_number() || !(dropout.get<double>() >= 0 && dropout.get<double>() < 1)) {
      return error("[{}] lora_dropout is {}; a number from 0 to below 1 is expected.", name, shown(dropout));
    }
    config.dropout = dropout.get<double>();
  }
  TRY(read_targets(field("target_modules"), config, name));
  TRY(read_layers(field("layers_to_transform"), config, name));
  config.modules_to_save = TRY(read_names(field("modules_to_save"), "modules_to_save", name));
  const Json pattern = field("layers_pattern");
  config.layers_pattern =
      TRY(read_names(pattern.is_string() && pattern != "" ? Json::array({pattern}) : pattern, "layers_pattern", name));
  if (const Json base = field("base_model_name_or_path"); base.is_string()) {
    config.base_model_name_or_path = base.get<std::string>();
  }
  return config;
}

namespace {

// A whole number without a point, as PEFT's own are.
Json number_json(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return static_cast<int64_t>(value);
  return value;
}

// An object in the order of the patterns, of which the first that matches counts.
template <typename Number>
Json patterns_json(const std::vector<std::pair<std::string, Number>>& patterns) {
  Json object = Json::object();
  for (const auto& [pattern, number] : patterns) object[pattern] = number_json(static_cast<double>(number));
  return object;
}

}  // namespace

std::string lora_config_to_json(const LoraConfig& config, const std::vector<std::string>& modules,
                                std::string_view task) {
  Json targets = config.target_regex;
  if (config.target_regex.empty()) {
    std::set<std::string> names(config.target_modules.begin(), config.target_modules.end());
    if (names.erase("all-linear") != 0) {
      for (const std::string& module : modules) names.insert(module.substr(module.rfind('.') + 1));
    }
    targets = names;
  }
  const Json none = nullptr;
  const Json json = {
      {"alpha_pattern", patterns_json(config.alpha_pattern)},
      {"auto_mapping", none},
      {"base_model_name_or_path", config.base_model_name_or_path},
      {"bias", "none"},
      {"fan_in_fan_out", config.fan_in_fan_out},
      {"inference_mode", true},
      {"init_lora_weights", true},
      {"layer_replication", none},
      {"layers_pattern", config.layers_pattern.empty() ? none : Json(config.layers_pattern)},
      {"layers_to_transform", config.layers_to_transform.empty() ? none : Json(config.layers_to_transform)},
      {"loftq_config", Json::object()},
      {"lora_alpha", number_json(config.alpha)},
      {"lora_dropout", config.dropout},
      {"megatron_config", none},
      {"megatron_core", "megatron.core"},
      {"modules_to_save", config.modules_to_save.empty() ? none : Json(config.modules_to_save)},
      {"peft_type", "LORA"},
      {"r", config.r},
      {"rank_pattern", patterns_json(config.rank_pattern)},
      {"revision", none},
      {"target_modules", targets},
      {"task_type", task},
      {"use_dora", config.use_dora},
      {"use_rslora", config.use_rslora}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace candor::files
