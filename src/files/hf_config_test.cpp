#include "files/hf_config.h"

#include <gmock/gmock.h>

#include "support/oracle.h"

namespace candor::files {
namespace {

using candor::testing::golden;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelConfig read(const std::string& file) {
  auto config = config_from_json(*read_json_file(golden(file)), file);
  EXPECT_TRUE(config) << config.error().message;
  return config ? *config : ModelConfig{};
}

TEST(HfConfig, BothDialectsSayTheSame) {
  CANDOR_REQUIRE_FILE(golden("models/llama/config.json"));
  for (const char* name :
       {"llama", "llama3_rope", "llama_linear_rope", "llama_yarn", "llama_bias", "llama_tied", "gpt2"}) {
    SCOPED_TRACE(name);
    const ModelConfig a = read(fmt::format("models/{}/config.json", name));
    const ModelConfig b = read(fmt::format("models/{}/config.legacy.json", name));
    EXPECT_EQ(std::tie(a.hidden_size, a.intermediate_size, a.layers, a.heads, a.kv_heads, a.head_dim, a.vocab_size),
              std::tie(b.hidden_size, b.intermediate_size, b.layers, b.heads, b.kv_heads, b.head_dim, b.vocab_size));
    EXPECT_EQ(
        std::tie(a.max_positions, a.norm_eps, a.tied_head, a.attention_bias, a.mlp_bias, a.bos_id, a.pad_id, a.eos_ids),
        std::tie(b.max_positions, b.norm_eps, b.tied_head, b.attention_bias, b.mlp_bias, b.bos_id, b.pad_id,
                 b.eos_ids));
    const RopeConfig &r = a.rope, &s = b.rope;
    EXPECT_EQ(std::tie(r.type, r.theta, r.factor, r.original_max_positions, r.low_freq_factor, r.high_freq_factor),
              std::tie(s.type, s.theta, s.factor, s.original_max_positions, s.low_freq_factor, s.high_freq_factor));
    EXPECT_EQ(std::tie(r.beta_fast, r.beta_slow, r.attention_factor, r.truncate),
              std::tie(s.beta_fast, s.beta_slow, s.attention_factor, s.truncate));
  }
}

TEST(HfConfig, ReadsWhatTheFileSays) {
  CANDOR_REQUIRE_FILE(golden("models/llama/config.json"));
  const ModelConfig llama3 = read("models/llama3_rope/config.json");
  EXPECT_EQ(llama3.rope.type, RopeType::kLlama3);
  EXPECT_EQ(llama3.rope.factor, 8);
  EXPECT_EQ(llama3.rope.original_max_positions, 64);
  EXPECT_EQ(llama3.head_dim, 12);
  const ModelConfig yarn = read("models/llama_yarn/config.json");
  EXPECT_EQ(yarn.rope.type, RopeType::kYarn);
  EXPECT_EQ(yarn.rope.original_max_positions, 32);
  EXPECT_EQ(yarn.rope.attention_factor, 0);  // the default formula
  EXPECT_EQ(read("models/llama_linear_rope/config.legacy.json").rope.type, RopeType::kLinear);
  const ModelConfig bias = read("models/llama_bias/config.json");
  EXPECT_TRUE(bias.attention_bias && bias.mlp_bias);
  EXPECT_EQ(bias.head_dim * bias.heads, 64);
  EXPECT_EQ(bias.hidden_size, 36);
  EXPECT_TRUE(read("models/llama_tied/config.json").tied_head);
  EXPECT_FALSE(read("models/llama/config.json").tied_head);
}

TEST(HfConfig, ReadsGpt2) {
  CANDOR_REQUIRE_FILE(golden("models/gpt2/config.json"));
  const ModelConfig c = read("models/gpt2/config.json");
  EXPECT_EQ(c.family, "gpt2");
  EXPECT_EQ(std::tuple(c.hidden_size, c.intermediate_size, c.layers, c.heads, c.kv_heads, c.head_dim, c.max_positions),
            std::tuple(32, 128, 2, 4, 4, 8, 64));
  EXPECT_TRUE(c.fused_qkv && c.layer_norm && c.transposed && c.tied_head);
  EXPECT_TRUE(c.attention_bias && c.output_bias && c.mlp_bias);
  EXPECT_EQ(c.rope.type, RopeType::kNone);
  EXPECT_EQ(c.mlp, MlpKind::kGelu);
  EXPECT_EQ(c.norm_eps, 1e-5);
}

// Transformers' defaults are those of the 124M model; what would change the numbers is refused.
TEST(HfConfig, Gpt2sDefaultsAndRefusals) {
  auto with = [](const Json& keys) {
    Json json = {{"model_type", "gpt2"}};
    json.update(keys);
    return config_from_json(json, "config.json");
  };
  const auto smallest = with(Json::object());
  ASSERT_TRUE(smallest) << smallest.error().message;
  EXPECT_EQ(std::tuple(smallest->hidden_size, smallest->intermediate_size, smallest->layers, smallest->vocab_size),
            std::tuple(768, 3072, 12, 50257));
  EXPECT_THAT(smallest->eos_ids, ElementsAre(50256));
  EXPECT_EQ(with({{"n_inner", 100}})->intermediate_size, 100);
  EXPECT_EQ(with({{"num_labels", 1}, {"architectures", {"GPT2ForSequenceClassification"}}})->labels, 1);
  EXPECT_TRUE(with({{"activation_function", "gelu_pytorch_tanh"}}));
  auto refusal = [&](const Json& keys) { return with(keys).error().message; };
  EXPECT_EQ(refusal({{"activation_function", "gelu"}}),
            "[config.json] activation_function \"gelu\" is not supported in a gpt2 model: gelu_new is.");
  EXPECT_EQ(refusal({{"scale_attn_by_inverse_layer_idx", true}}),
            "[config.json] scale_attn_by_inverse_layer_idx true is not supported yet.");
  EXPECT_EQ(refusal({{"scale_attn_weights", false}}), "[config.json] scale_attn_weights false is not supported yet.");
  EXPECT_EQ(refusal({{"n_head", 7}}), "[config.json] n_embd 768 is no multiple of n_head 7.");
  EXPECT_THAT(refusal({{"layer_norm_epsilon", 0}}), HasSubstr("layer_norm_epsilon is 0; a number between 0 and 1"));
  EXPECT_THAT(refusal({{"n_embd", int64_t{1} << 62}, {"n_head", 1}}), HasSubstr("hidden_size is"));
  EXPECT_THAT(refusal({{"architectures", {"GPT2DoubleHeadsModel"}}}),
              HasSubstr("not supported yet: GPT2LMHeadModel and GPT2ForSequenceClassification are."));
}

Json small() {
  return Json::parse(R"({"model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
                         "num_attention_heads": 2, "vocab_size": 10})");
}

std::string refusal(const char* key, const Json& value) {
  Json json = small();
  json[key] = value;
  auto config = config_from_json(json, "config.json");
  return config ? "" : config.error().message;
}

TEST(HfConfig, AbsentKeysHaveTransformersDefaults) {
  const auto config = config_from_json(small(), "config.json");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->kv_heads, 2);
  EXPECT_EQ(config->head_dim, 4);
  EXPECT_EQ(config->max_positions, 2048);
  EXPECT_EQ(config->norm_eps, 1e-6);
  EXPECT_EQ(config->rope.theta, 10000);
  EXPECT_EQ(config->bos_id, 1);
  EXPECT_THAT(config->eos_ids, ElementsAre(2));
  EXPECT_EQ(config->pad_id, std::nullopt);
}

TEST(HfConfig, RefusesWhatWouldChangeTheResult) {
  EXPECT_EQ(refusal("model_type", "gemma2"),
            "[config.json] model_type \"gemma2\" is not supported yet: llama, qwen2 and gpt2 are.");
  EXPECT_EQ(refusal("model_type", nullptr), "[config.json] has no \"model_type\".");
  EXPECT_EQ(refusal("vocab_size", nullptr), "[config.json] has no \"vocab_size\".");
  EXPECT_EQ(refusal("hidden_size", 7.5), "[config.json] \"hidden_size\" is 7.5; a whole number is expected.");
  EXPECT_THAT(refusal("rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}),
              HasSubstr("\"dynamic\" is not supported yet"));
  EXPECT_THAT(refusal("rope_scaling", {{"type", "linear"}}), HasSubstr("rope has no \"factor\""));
  EXPECT_THAT(refusal("rope_scaling", {{"type", "linear"}, {"factor", 0}}), HasSubstr("not a positive finite number"));
  EXPECT_THAT(refusal("rope_scaling", {{"type", "linear"}, {"factor", 2}, {"twist", 1}}),
              HasSubstr("\"twist\" is not known"));
  EXPECT_THAT(refusal("rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}),
              HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(refusal("architectures", {"LlamaForTokenClassification"}),
              HasSubstr("not supported yet: LlamaForCausalLM and LlamaForSequenceClassification are."));
  EXPECT_THAT(refusal("initializer_range", -1), HasSubstr("initializer_range is -1; a number from 0 to 100"));
  EXPECT_THAT(refusal("quantization_config", {{"bits", 4}}), HasSubstr("quantization_config"));
  EXPECT_THAT(refusal("head_dim", 3), HasSubstr("head_dim 3 is odd"));
  EXPECT_THAT(refusal("eos_token_id", 10), HasSubstr("eos_token_id holds 10"));
  EXPECT_THAT(refusal("eos_token_id", {1, "2"}), HasSubstr("eos_token_id holds \"2\""));
  EXPECT_EQ(refusal("eos_token_id", {1, 2}), "");
  EXPECT_EQ(refusal("pad_token_id", -1), "");
  EXPECT_THAT(config_from_json(Json::array(), "config.json").error().message, HasSubstr("no JSON object"));
}

// Transformers' num_labels: by itself, or as many as id2label names, or two.
TEST(HfConfig, CountsTheLabelsOfASequenceClassifier) {
  auto labels = [](const Json& keys) -> std::string {
    Json json = small();
    json["architectures"] = {"LlamaForSequenceClassification"};
    json.update(keys);
    const auto config = config_from_json(json, "config.json");
    return config ? std::to_string(config->labels) : config.error().message;
  };
  EXPECT_EQ(labels(Json::object()), "2");
  EXPECT_EQ(labels({{"id2label", {{"0", "LABEL_0"}}}}), "1");
  EXPECT_EQ(labels({{"num_labels", 3}}), "3");
  EXPECT_EQ(labels({{"num_labels", 0}}), "[config.json] num_labels is 0; a number from 1 to 65536 is expected.");
  EXPECT_EQ(labels({{"num_labels", "many"}}), "[config.json] \"num_labels\" is \"many\"; a whole number is expected.");
  Json language = small();
  language["id2label"] = {{"0", "LABEL_0"}};  // Transformers writes it into any config
  EXPECT_EQ(config_from_json(language, "config.json")->labels, 0);
}

// DeepSeek's way of giving yarn's temperature: the ratio of two (Transformers' _compute_yarn_parameters).
TEST(HfConfig, YarnsTemperatureFromTwoScales) {
  Json json = small();
  json["rope_scaling"] = {{"type", "yarn"},
                          {"factor", 4.0},
                          {"original_max_position_embeddings", 32},
                          {"mscale", 1.0},
                          {"mscale_all_dim", 0.8}};
  const auto config = config_from_json(json, "config.json");
  ASSERT_TRUE(config) << config.error().message;
  // 0.1·ln 4 = 0.13862943611198906; 1.1386294… / 1.1109035…, to rounding.
  EXPECT_NEAR(config->rope.attention_factor, 1.13862943611198906 / 1.11090354888959125, 1e-15);
}

TEST(JsonFile, BoundsNestingAndNamesTheFault) {
  EXPECT_EQ(parse_json(std::string(100000, '['), "x").error().message, "[x] holds JSON nested deeper than 64 levels.");
  EXPECT_EQ(parse_json("{\"a\": }", "x").error().message, "[x] is not valid JSON: wrong near byte 7 of 7.");
  EXPECT_FALSE(parse_json("{\"a\": 1e999}", "x"));
  EXPECT_FALSE(parse_json("\"\xff\"", "x"));
  EXPECT_TRUE(parse_json("\"" + std::string(1000, '[') + "\\\"\"", "x"));
}

}  // namespace
}  // namespace candor::files
