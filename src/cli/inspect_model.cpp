#include "cli/inspect_model.h"

#include <algorithm>
#include <map>

#include "files/gguf.h"
#include "files/model_files.h"
#include "files/safetensors.h"

namespace candor::cli {
namespace {

using files::Json;
namespace fs = std::filesystem;

struct TypeCount {
  int64_t tensors = 0, parameters = 0;
  uint64_t bytes = 0;
};
using TypeCounts = std::map<std::string, TypeCount>;

void add_counts(const TypeCounts& counts, Json& facts) {
  Json weights = Json::object();
  int64_t parameters = 0;
  for (const auto& [type, count] : counts) {
    weights[type] = {{"tensors", count.tensors}, {"parameters", count.parameters}, {"bytes", count.bytes}};
    parameters += count.parameters;
  }
  facts["parameters"] = parameters;
  facts["weights"] = std::move(weights);
}

int64_t elements(const std::vector<int64_t>& shape) {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

Result<void> add_safetensors(const fs::path& path, TypeCounts& counts) {
  const auto file = TRY(files::SafetensorsFile::open(path));
  for (const files::TensorInfo& tensor : file.tensors()) {
    TypeCount& count = counts[tensor.type];
    ++count.tensors;
    count.parameters += tensor.elements();
    count.bytes += tensor.bytes;
  }
  return {};
}

Json config_json(const files::ModelConfig& config) {
  constexpr const char* kRopeNames[] = {"default", "linear", "llama3", "yarn", "none"};
  Json out = {{"family", config.family},
              {"layers", config.layers},
              {"hidden_size", config.hidden_size},
              {"intermediate_size", config.intermediate_size},
              {"heads", config.heads},
              {"kv_heads", config.kv_heads},
              {"head_dim", config.head_dim},
              {"vocab_size", config.vocab_size},
              {"context_tokens", config.max_positions},
              {"tied_head", config.tied_head},
              {"labels", config.labels},
              {"attention_bias", config.attention_bias},
              {"mlp_bias", config.mlp_bias},
              {"norm_eps", config.norm_eps},
              {"rope", kRopeNames[static_cast<int>(config.rope.type)]},
              {"rope_theta", config.rope.type == files::RopeType::kNone ? Json() : Json(config.rope.theta)},
              {"end_token_ids", config.eos_ids}};
  out["begin_token_id"] = config.bos_id ? Json(*config.bos_id) : Json();
  out["pad_token_id"] = config.pad_id ? Json(*config.pad_id) : Json();
  return out;
}

// A token with its text: {"id": 2, "text": "<|im_end|>"}.
Json token_json(int32_t id, const files::ModelFiles& model) {
  Json token = {{"id", id}};
  if (model.tokenizer) {
    if (const auto text = model.tokenizer->id_to_token(id)) token["text"] = *text;
  }
  return token;
}

// What the engine makes of the model: its configuration and text, or the reason why it does not run it.
void add_model(const fs::path& path, Json& facts) {
  const auto model = files::open_model(path);
  if (!model) {
    facts["not_supported"] = model.error().message;
    return;
  }
  facts["model"] = config_json(model->config);
  facts["tokenizer"] = model->tokenizer ? Json{{"tokens", model->tokenizer->size()}} : Json();
  if (!model->tokenizer) facts["no_tokenizer"] = model->no_tokenizer;
  facts["chat_template"] = model->chat_template.has_value();
  if (!model->chat_template) facts["no_chat_template"] = model->no_chat_template;
  Json begins = nullptr, pads = nullptr, ends = Json::array();
  if (model->config.bos_id) begins = token_json(*model->config.bos_id, *model);
  if (model->config.pad_id) pads = token_json(*model->config.pad_id, *model);
  for (const int32_t id : model->config.eos_ids) ends.push_back(token_json(id, *model));
  facts["begin_token"] = std::move(begins);
  facts["end_tokens"] = std::move(ends);
  facts["pad_token"] = std::move(pads);
  facts["special_tokens"] = model->special_tokens;
}

Json gguf_value(const files::GgufValue& value) {
  return std::visit(
      [](const auto& item) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(item)>, files::GgufArray>)
          return fmt::format("list of {}", item.count);
        else
          return item;
      },
      value);
}

}  // namespace

Result<Json> gguf_facts(const fs::path& path, Json facts) {
  const auto file = TRY(files::GgufFile::open(path));
  facts["kind"] = "gguf";
  facts["version"] = file.version();
  TypeCounts counts;
  for (const files::GgufTensor& tensor : file.tensors()) {
    TypeCount& count = counts[std::string(tensor.type->name)];
    ++count.tensors;
    count.parameters += elements(tensor.shape);
    count.bytes += tensor.bytes;
  }
  add_model(path, facts);
  add_counts(counts, facts);
  Json metadata = Json::object();
  for (const auto& [key, value] : file.metadata()) metadata[key] = gguf_value(value);
  facts["metadata"] = std::move(metadata);
  return facts;
}

Result<Json> safetensors_facts(const fs::path& path, Json facts) {
  const auto file = TRY(files::SafetensorsFile::open(path));
  facts["kind"] = "safetensors";
  TypeCounts counts;
  TRY(add_safetensors(path, counts));
  add_counts(counts, facts);
  Json tensors = Json::object();
  for (const files::TensorInfo& tensor : file.tensors())
    tensors[tensor.name] = fmt::format("{} [{}]", tensor.type, fmt::join(tensor.shape, ", "));
  facts["tensors"] = std::move(tensors);
  facts["metadata"] = file.metadata();
  return facts;
}

Result<Json> directory_facts(const fs::path& path, Json facts) {
  facts["kind"] = "huggingface";
  add_model(path, facts);
  TRY(add_folder_weights(path, "model", facts));
  return facts;
}

Result<void> add_folder_weights(const fs::path& path, std::string_view prefix, Json& facts) {
  TypeCounts counts;
  std::vector<fs::path> shards;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(path, failure))
    if (entry.path().extension() == ".safetensors" && entry.path().filename().string().starts_with(prefix))
      shards.push_back(entry.path());
  std::sort(shards.begin(), shards.end());
  for (const fs::path& shard : shards) TRY(add_safetensors(shard, counts));
  add_counts(counts, facts);
  return {};
}

}  // namespace candor::cli
