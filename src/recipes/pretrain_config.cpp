#include "recipes/pretrain_config.h"

#include "base/atomic_file.h"
#include "data/rows.h"
#include "engine/model_weights.h"
#include "files/hf_config.h"
#include "files/model_writer.h"
#include "text/bpe_trainer.h"

namespace candor::recipes {

namespace {

namespace fs = std::filesystem;

constexpr const char* kEndOfText = "<|endoftext|>";
constexpr const char* kTurnBegins = "<|im_start|>";
constexpr const char* kTurnEnds = "<|im_end|>";
constexpr const char* kChatTemplate =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n' "
    "}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

fs::path initial_folder(const PretrainConfig& config) {
  return fs::path(config.output_dir) / "initial";
}

// Every text that a row holds, whatever its columns.
void add_texts(const files::Json& value, std::vector<std::string>& texts) {
  if (value.is_string()) texts.push_back(value.get<std::string>());
  if (value.is_structured())
    for (const auto& item : value) add_texts(item, texts);
}

files::Json config_json(const PretrainConfig& c, int64_t vocabulary) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", c.hidden_size},
          {"intermediate_size", c.intermediate_size},
          {"num_hidden_layers", c.num_hidden_layers},
          {"num_attention_heads", c.num_attention_heads},
          {"num_key_value_heads", c.num_key_value_heads},
          {"head_dim", c.hidden_size / c.num_attention_heads},
          {"vocab_size", vocabulary},
          {"max_position_embeddings", c.max_position_embeddings},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", c.rope_theta},
          {"hidden_act", "silu"},
          {"attention_bias", false},
          {"mlp_bias", false},
          {"tie_word_embeddings", c.tie_word_embeddings},
          {"initializer_range", c.initializer_range},
          {"bos_token_id", nullptr},
          {"eos_token_id", {0, 2}},
          {"pad_token_id", 0},
          {"torch_dtype", "float32"}};
}

}  // namespace

PretrainConfig::PretrainConfig() {
  completion_only_loss = "false";
  packing = true;
  packing_strategy = "wrapped";
  max_length = 256;
  num_train_epochs = 1.0;
  learning_rate = 1e-3;
  lr_scheduler_type = "cosine";
  warmup_ratio = 0.05;
  weight_decay = 0.1;
  adam_beta2 = 0.95;
}

Result<void> resolve_pretrain(PretrainConfig& c, const Given& given) {
  TRY(resolve_sft(c, given));
  c.model_name_or_path = initial_folder(c).string();
  if (c.num_key_value_heads == 0) c.num_key_value_heads = c.num_attention_heads;
  if (c.intermediate_size == 0) c.intermediate_size = (8 * c.hidden_size / 3 + 31) / 32 * 32;
  if (c.hidden_size % (2 * c.num_attention_heads) != 0)
    return error("[pretrain] hidden_size {} is no multiple of 2 x num_attention_heads {}: a head has an even width.",
                 c.hidden_size, c.num_attention_heads);
  if (c.num_attention_heads % c.num_key_value_heads != 0)
    return error("[pretrain] num_attention_heads {} is no multiple of num_key_value_heads {}.", c.num_attention_heads,
                 c.num_key_value_heads);
  if (*c.max_length > c.max_position_embeddings)
    return error("[pretrain] max_length {} is more than max_position_embeddings {}. Lower the one or raise the other.",
                 *c.max_length, c.max_position_embeddings);
  return {};
}

Result<files::ModelConfig> pretrain_model_config(const PretrainConfig& config) {
  return files::config_from_json(config_json(config, config.vocab_size), "pretrain");
}

Result<void> write_initial_model(const PretrainConfig& config) {
  const fs::path folder = initial_folder(config);
  if (config.resume_from_checkpoint != "false" && fs::exists(folder)) return {};
  const data::Rows rows = TRY(data::read_rows(config.dataset_name));
  std::vector<std::string> texts;
  for (const data::Row& row : rows.rows) add_texts(row.columns, texts);
  const std::string tokenizer = TRY(text::train_bpe(texts, {config.vocab_size, {kEndOfText, kTurnBegins, kTurnEnds}}));
  const auto vocabulary = static_cast<int64_t>(files::Json::parse(tokenizer)["model"]["vocab"].size());
  const files::Json json = config_json(config, vocabulary);
  const files::ModelConfig model = TRY(files::config_from_json(json, "pretrain"));
  const auto weights = engine::initial_weights(model, static_cast<uint64_t>(config.seed), config.initializer_range);
  const files::Json text_side = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                                 {"eos_token", kEndOfText},
                                 {"pad_token", kEndOfText},
                                 {"model_max_length", config.max_position_embeddings},
                                 {"chat_template", kChatTemplate}};
  const std::vector<files::TensorSource> sources = files::weight_sources(*weights);
  TRY(make_directories(config.output_dir));
  return write_folder_atomically(
      folder,
      {named_bytes("config.json", json.dump(2) + "\n"),
       named_bytes("tokenizer.json", tokenizer),
       named_bytes("tokenizer_config.json", text_side.dump(2) + "\n"),
       {"model.safetensors",
        [&](OutputFile& out) { return files::write_safetensors(sources, files::FloatType::kFloat32, {}, out); }}},
      IfThere::kReplace);
}

}  // namespace candor::recipes
