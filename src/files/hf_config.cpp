#include "files/hf_config.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>

#include "base/math.h"
#include "files/config_check.h"
#include "files/json_fields.h"

namespace candor::files {

namespace {

constexpr std::array<std::string_view, 24> kKnownFamilies = {
    "mistral",     "mixtral",     "qwen2_moe", "qwen3",   "qwen3_moe", "gemma", "gemma2",     "gemma3",
    "gemma3_text", "phi",         "phi3",      "smollm3", "olmo",      "olmo2", "exaone4",    "gpt_neox",
    "deepseek_v2", "deepseek_v3", "falcon",    "cohere",  "granite",   "opt",   "starcoder2", "llama4"};

// Yarn's temperature on cos and sin, arXiv 2309.00071, section 3.4, as Transformers computes it.
double yarn_temperature(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * exact_log(factor) + 1;
}

Result<RopeConfig> rope_from_json(const Json& json, int64_t max_positions, const std::string& name) {
  static constexpr std::array<std::string_view, 15> kKnownKeys = {
      "rope_theta",       "rope_type",        "type",      "factor",         "original_max_position_embeddings",
      "low_freq_factor",  "truncate",         "beta_fast", "mscale",         "beta_slow",
      "high_freq_factor", "attention_factor", "finetuned", "mscale_all_dim", "partial_rotary_factor"};
  RopeConfig rope;
  Fields top(json, name);
  rope.theta = top.number("rope_theta", rope.theta);
  TRY(top.result());
  const Json* object = top.find("rope_parameters");
  if (object == nullptr) object = top.find("rope_scaling");
  if (object == nullptr) return rope;
  if (!object->is_object()) return error("[{}] rope_parameters is no object.", name);
  for (const auto& [key, value] : object->items()) {
    if (value.is_null() || std::find(kKnownKeys.begin(), kKnownKeys.end(), key) != kKnownKeys.end()) continue;
    return error("[{}] rope parameter \"{}\" is not known; it may change the result, so it is not ignored.", name, key);
  }
  Fields fields(*object, name);
  rope.theta = fields.number("rope_theta", rope.theta);
  const std::string type = fields.string("rope_type", fields.string("type", "default"));
  if (fields.number("partial_rotary_factor", 1.0) != 1.0) {
    fields.fail(fmt::format("[{}] partial_rotary_factor other than 1 is not supported yet.", name));
  }
  if (type == "default") {
    rope.type = RopeType::kDefault;
  } else if (type == "linear") {
    rope.type = RopeType::kLinear;
    rope.factor = fields.required_number("factor");
  } else if (type == "llama3") {
    rope.type = RopeType::kLlama3;
    rope.factor = fields.required_number("factor");
    rope.low_freq_factor = fields.required_number("low_freq_factor");
    rope.high_freq_factor = fields.required_number("high_freq_factor");
    rope.original_max_positions = fields.required_number("original_max_position_embeddings");
  } else if (type == "yarn") {
    rope.type = RopeType::kYarn;
    const auto positions = static_cast<double>(max_positions);
    rope.original_max_positions = fields.number("original_max_position_embeddings", positions);
    rope.factor = fields.number("factor", positions / rope.original_max_positions);
    rope.beta_fast = fields.number("beta_fast", rope.beta_fast);
    rope.beta_slow = fields.number("beta_slow", rope.beta_slow);
    rope.truncate = fields.boolean("truncate", true);
    const double mscale = fields.number("mscale", 0), mscale_all_dim = fields.number("mscale_all_dim", 0);
    if (mscale != 0 && mscale_all_dim != 0) {
      rope.attention_factor = yarn_temperature(rope.factor, mscale) / yarn_temperature(rope.factor, mscale_all_dim);
    }
    rope.attention_factor = fields.number("attention_factor", rope.attention_factor);
  } else {
    const bool known = type == "dynamic" || type == "longrope" || type == "su" || type == "proportional";
    return error("[{}] rope type \"{}\" is {}: default, linear, llama3 and yarn are.", name, type,
                 known ? "not supported yet" : "unknown");
  }
  TRY(fields.result());
  return rope;
}

// How many labels a classifier tells apart. Transformers writes their names; without any there are two.
Result<int64_t> labels_from_json(const Json& json, const std::string& name) {
  Fields fields(json, name);
  const Json* names = fields.find("id2label");
  const int64_t named = names != nullptr && names->is_object() ? static_cast<int64_t>(names->size()) : 2;
  const int64_t labels = fields.integer("num_labels", named);
  TRY(fields.result());
  constexpr int64_t kMost = 1 << 16;
  if (labels >= 1 && labels <= kMost) return labels;
  return error("[{}] num_labels is {}; a number from 1 to {} is expected.", name, labels, kMost);
}

}  // namespace

Result<std::vector<int32_t>> token_ids_from_json(const Json& value, int64_t vocab_size, const std::string& name) {
  std::vector<int32_t> ids;
  if (value.is_null()) return ids;
  const Json list = value.is_array() ? value : Json::array({value});
  for (const Json& item : list) {
    if (!item.is_number_integer() || item.get<int64_t>() < 0 || item.get<int64_t>() >= vocab_size) {
      return error("[{}] eos_token_id holds {}; token ids from 0 to {} are expected.", name,
                   item.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60), vocab_size - 1);
    }
    ids.push_back(item.get<int32_t>());
  }
  return ids;
}

namespace {

// What stands behind every family's sizes: ids of tokens with a meaning, in Transformers' default where config.json
// says nothing; null means none.
Result<void> read_token_ids(const Json& json, const Json& bos_default, const Json& eos_default, const std::string& name,
                            ModelConfig& config) {
  auto ids = [&](const char* key, const Json& otherwise) {
    return token_ids_from_json(json.contains(key) ? json[key] : otherwise, config.vocab_size, name);
  };
  config.eos_ids = TRY(ids("eos_token_id", eos_default));
  const std::vector<int32_t> bos = TRY(ids("bos_token_id", bos_default));
  if (!bos.empty()) config.bos_id = bos.front();
  const auto pad = json.find("pad_token_id");  // −1 stands for none in old files
  if (pad != json.end() && !pad->is_null() && *pad != -1) {
    const std::vector<int32_t> pads = TRY(token_ids_from_json(*pad, config.vocab_size, name));
    if (!pads.empty()) config.pad_id = pads.front();
  }
  return {};
}

// The default where the vocabulary holds it.
Json id_below(int64_t vocab_size, int32_t id) {
  return vocab_size > id ? Json(id) : Json();
}

// `model`: "Llama", as Transformers' classes begin.
Result<void> read_architecture(const Json& json, const std::string& model, const char* causal, const std::string& name,
                               ModelConfig& config) {
  const auto list = json.find("architectures");
  if (list == json.end() || !list->is_array() || list->empty()) return {};
  const Json& first = list->front();
  if (first == model + "ForSequenceClassification") {
    config.labels = TRY(labels_from_json(json, name));
  } else if (first.is_string() && first != model + causal && first != model + "Model") {
    return error("[{}] architecture \"{}\" is not supported yet: {}{} and {}ForSequenceClassification are.", name,
                 first.get<std::string>(), model, causal, model);
  }
  return {};
}

// GPT-2 (Transformers' GPT2Config): learned positions, LayerNorm, biases everywhere, Conv1D. Its dropout keys are of
// its own training.
Result<ModelConfig> gpt2_config(const Json& json, const std::string& name) {
  Fields fields(json, name);
  ModelConfig config;
  config.family = "gpt2";
  TRY(read_architecture(json, "GPT2", "LMHeadModel", name, config));
  const std::string activation = fields.string("activation_function", "gelu_new");
  if (activation != "gelu_new" && activation != "gelu_pytorch_tanh") {  // two names of one function
    fields.fail(fmt::format("[{}] activation_function \"{}\" is not supported in a gpt2 model: gelu_new is.", name,
                            activation));
  }
  // Each would change what is computed. (reorder_and_upcast_attn only says in which precision.)
  for (const auto& [key, supported] : {std::pair{"scale_attn_weights", true},
                                       {"scale_attn_by_inverse_layer_idx", false},
                                       {"add_cross_attention", false}}) {
    if (fields.boolean(key, supported) != supported)
      fields.fail(fmt::format("[{}] {} {} is not supported yet.", name, key, !supported));
  }
  config.hidden_size = fields.integer("n_embd", 768);
  config.layers = fields.integer("n_layer", 12);
  config.heads = config.kv_heads = fields.integer("n_head", 12);
  config.vocab_size = fields.integer("vocab_size", 50257);
  config.max_positions = fields.integer("n_positions", 1024);
  config.norm_eps = fields.number("layer_norm_epsilon", 1e-5);
  config.initializer_range = fields.number("initializer_range", config.initializer_range);
  config.tied_head = fields.boolean("tie_word_embeddings", true);
  constexpr int64_t kMost = 1 << 20;  // so that the default cannot overflow; check_config refuses more
  config.intermediate_size = fields.integer("n_inner", 4 * std::min(config.hidden_size, kMost));
  TRY(fields.result());
  if (config.heads < 1 || config.hidden_size % config.heads != 0)
    return error("[{}] n_embd {} is no multiple of n_head {}.", name, config.hidden_size, config.heads);
  config.head_dim = config.hidden_size / config.heads;
  set_gpt2_kind(config);
  TRY(check_config(config, name));
  TRY(read_token_ids(json, id_below(config.vocab_size, 50256), id_below(config.vocab_size, 50256), name, config));
  return config;
}

}  // namespace

Result<ModelConfig> config_from_json(const Json& json, const std::string& name) {
  if (!json.is_object()) return error("[{}] is no JSON object.", name);
  Fields fields(json, name);
  ModelConfig config;
  config.family = fields.string("model_type", "");
  TRY(fields.result());
  if (config.family.empty()) return error("[{}] has no \"model_type\".", name);
  const bool qwen2 = config.family == "qwen2";
  if (config.family != "llama" && !qwen2 && config.family != "gpt2") {
    const bool known = std::find(kKnownFamilies.begin(), kKnownFamilies.end(), config.family) != kKnownFamilies.end();
    return error("[{}] model_type \"{}\" is {}: llama, qwen2 and gpt2 are.", name, config.family,
                 known ? "not supported yet" : "unknown");
  }
  if (fields.find("quantization_config") != nullptr) {
    return error(
        "[{}] has a quantization_config; quantized safetensors are not supported yet. Take the float weights "
        "or a GGUF file.",
        name);
  }
  if (config.family == "gpt2") return gpt2_config(json, name);
  TRY(read_architecture(json, qwen2 ? "Qwen2" : "Llama", "ForCausalLM", name, config));
  const std::string activation = fields.string("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") {
    fields.fail(fmt::format("[{}] hidden_act \"{}\" is not supported in a {} model: silu is.", name, activation,
                            config.family));
  }
  config.hidden_size = fields.required_integer("hidden_size");
  config.intermediate_size = fields.required_integer("intermediate_size");
  config.layers = fields.required_integer("num_hidden_layers");
  config.heads = fields.required_integer("num_attention_heads");
  config.kv_heads = fields.integer("num_key_value_heads", config.heads);
  config.vocab_size = fields.required_integer("vocab_size");
  config.max_positions = fields.integer("max_position_embeddings", qwen2 ? 32768 : 2048);
  config.norm_eps = fields.number("rms_norm_eps", 1e-6);
  config.initializer_range = fields.number("initializer_range", config.initializer_range);
  config.tied_head = fields.boolean("tie_word_embeddings", false);
  config.attention_bias = qwen2 || fields.boolean("attention_bias", false);  // qwen2's code has no key for it
  config.output_bias = !qwen2 && config.attention_bias;
  config.mlp_bias = !qwen2 && fields.boolean("mlp_bias", false);
  if (qwen2 && fields.boolean("use_sliding_window", false))
    fields.fail(fmt::format("[{}] use_sliding_window true is not supported yet.", name));
  if (const Json* types = fields.find("layer_types"); types != nullptr && types->is_array())
    for (const Json& type : *types)
      if (type != "full_attention")
        fields.fail(
            fmt::format("[{}] layer_types holds layers without full attention, which is not supported yet.", name));
  config.head_dim = fields.integer("head_dim", 0);
  TRY(fields.result());
  if (fields.find("head_dim") == nullptr) {
    if (config.heads < 1 || config.hidden_size % config.heads != 0) {
      return error("[{}] hidden_size {} is no multiple of num_attention_heads {}, and there is no head_dim.", name,
                   config.hidden_size, config.heads);
    }
    config.head_dim = config.hidden_size / config.heads;
  }
  config.rope = TRY(rope_from_json(json, config.max_positions, name));
  TRY(check_config(config, name));  // before the ids: they are held against the vocabulary's size
  // Transformers' defaults of a llama: 1 begins, 2 ends. A qwen2 has none.
  TRY(read_token_ids(json, qwen2 ? Json() : id_below(config.vocab_size, 1),
                     qwen2 ? Json() : id_below(config.vocab_size, 2), name, config));
  return config;
}

}  // namespace candor::files
