// Writing config.json (hf_config.h). What is made from GGUF metadata is in the dialect of Transformers 4 (torch_dtype,
// rope_theta, rope_scaling), which Transformers 5 reads as well; the other way round, 4 would silently take a default.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/input_file.h"
#include "base/math.h"
#include "files/hf_config.h"

namespace candor::files {

namespace {

// GGUF keeps the divisors and not the numbers that they come from. These are looked for among those of Meta's models.
Result<RopeConfig> rope_of_divisors(const ModelConfig& config, const std::string& name) {
  const std::vector<float>& divisors = config.rope.frequency_divisors;
  RopeConfig rope = config.rope;
  rope.frequency_divisors.clear();
  rope.type = RopeType::kLlama3;
  rope.original_max_positions = 8192;
  rope.low_freq_factor = 1;
  rope.high_freq_factor = 4;
  rope.factor = static_cast<double>(*std::max_element(divisors.begin(), divisors.end()));
  bool same = config.rope.type == RopeType::kDefault;
  for (size_t i = 0; i < divisors.size(); ++i) {
    const double expected = llama3_divisor(rope, static_cast<int64_t>(i), config.head_dim);
    same = same &&
           std::abs(static_cast<double>(divisors[i]) - expected) <= 1e-5 * expected;  // float32, computed by others
  }
  if (same) return rope;
  return error(
      "[{}] rope_freqs.weight does not follow Llama 3's rule (low 1, high 4, 8192 positions), and config.json has no "
      "other words for it.",
      name);
}

Json rope_json(const RopeConfig& rope) {
  switch (rope.type) {
    case RopeType::kDefault:
    case RopeType::kNone:
      return nullptr;
    case RopeType::kLinear:
      return {{"rope_type", "linear"}, {"factor", rope.factor}};
    case RopeType::kLlama3:
      return {{"rope_type", "llama3"},
              {"factor", rope.factor},
              {"low_freq_factor", rope.low_freq_factor},
              {"high_freq_factor", rope.high_freq_factor},
              {"original_max_position_embeddings", static_cast<int64_t>(rope.original_max_positions)}};
    case RopeType::kYarn: {
      Json json = {{"rope_type", "yarn"},
                   {"factor", rope.factor},
                   {"beta_fast", rope.beta_fast},
                   {"beta_slow", rope.beta_slow},
                   {"truncate", rope.truncate},
                   {"original_max_position_embeddings", static_cast<int64_t>(rope.original_max_positions)}};
      if (rope.attention_factor != 0) json["attention_factor"] = rope.attention_factor;
      return json;
    }
  }
  return nullptr;
}

void add_token_ids(const ModelConfig& config, Json& json) {
  json["bos_token_id"] = config.bos_id ? Json(*config.bos_id) : Json();
  json["eos_token_id"] = config.eos_ids.empty()       ? Json()
                         : config.eos_ids.size() == 1 ? Json(config.eos_ids.front())
                                                      : Json(config.eos_ids);
  json["pad_token_id"] = config.pad_id ? Json(*config.pad_id) : Json();
}

Json new_gpt2_config(const ModelConfig& config, FloatType type) {
  Json json = {{"architectures", Json::array({"GPT2LMHeadModel"})},
               {"model_type", "gpt2"},
               {"torch_dtype", name_of(type)},
               {"n_embd", config.hidden_size},
               {"n_inner", config.intermediate_size},
               {"n_layer", config.layers},
               {"n_head", config.heads},
               {"vocab_size", config.vocab_size},
               {"n_positions", config.max_positions},
               {"activation_function", "gelu_new"},
               {"layer_norm_epsilon", config.norm_eps},
               {"tie_word_embeddings", config.tied_head}};
  add_token_ids(config, json);
  return json;
}

Result<Json> new_config(const ModelConfig& config, FloatType type, const std::string& name) {
  if (config.family == "gpt2") return new_gpt2_config(config, type);
  RopeConfig rope = config.rope;
  if (!rope.frequency_divisors.empty()) rope = TRY(rope_of_divisors(config, name));
  Json json = {{"architectures", Json::array({config.family == "qwen2" ? "Qwen2ForCausalLM" : "LlamaForCausalLM"})},
               {"model_type", config.family},
               {"torch_dtype", name_of(type)},
               {"hidden_size", config.hidden_size},
               {"intermediate_size", config.intermediate_size},
               {"num_hidden_layers", config.layers},
               {"num_attention_heads", config.heads},
               {"num_key_value_heads", config.kv_heads},
               {"head_dim", config.head_dim},
               {"vocab_size", config.vocab_size},
               {"max_position_embeddings", config.max_positions},
               {"hidden_act", "silu"},
               {"rms_norm_eps", config.norm_eps},
               {"rope_theta", rope.theta},
               {"rope_scaling", rope_json(rope)},
               {"tie_word_embeddings", config.tied_head}};
  if (config.family == "llama") {
    json["attention_bias"] = config.attention_bias;
    json["mlp_bias"] = config.mlp_bias;
  }
  add_token_ids(config, json);
  return json;
}

// The sequence classifier of the same decoder.
void become_classifier(int64_t labels, Json& json) {
  auto architecture = json.contains("architectures") && json["architectures"].is_array() &&
                              !json["architectures"].empty() && json["architectures"][0].is_string()
                          ? json["architectures"][0].get<std::string>()
                          : std::string("LlamaForCausalLM");
  architecture = architecture.substr(0, architecture.find(architecture.starts_with("GPT2") ? "LMHead" : "For"));
  json["architectures"] = Json::array({architecture + "ForSequenceClassification"});
  json["num_labels"] = labels;
  json["id2label"] = Json::object();
  json["label2id"] = Json::object();
  for (int64_t label = 0; label < labels; ++label) {
    const std::string name = fmt::format("LABEL_{}", label);
    json["id2label"][std::to_string(label)] = name;
    json["label2id"][name] = label;
  }
}

}  // namespace

double llama3_divisor(const RopeConfig& rope, int64_t i, int64_t head_dim) {
  const double frequency = exact_pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  const double turns = rope.original_max_positions * frequency / (2 * std::numbers::pi);
  if (turns > rope.high_freq_factor) return 1;
  if (turns < rope.low_freq_factor) return rope.factor;
  const double smooth = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return 1 / ((1 - smooth) / rope.factor + smooth);
}

Result<std::string> config_json_text(const ModelFiles& source, const ModelConfig& config, FloatType type) {
  Json json;
  if (source.format == "gguf") {
    json = TRY(new_config(config, type, source.path.string()));
    if (config.labels > 0) become_classifier(config.labels, json);
  } else {
    constexpr uint64_t kLargest = 64 << 20;  // read_json_file's bound
    const std::string path = (source.path / "config.json").string(), original = TRY(read_file(path, kLargest));
    json = TRY(parse_json(original, path));
    const Json before = json;
    const bool named = json.contains("dtype");
    if (json.contains("torch_dtype") || !named) json["torch_dtype"] = name_of(type);
    if (named) json["dtype"] = name_of(type);
    if (config.tied_head != source.config.tied_head) json["tie_word_embeddings"] = config.tied_head;
    if (config.labels != source.config.labels) become_classifier(config.labels, json);
    if (json == before) return original;
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace candor::files
