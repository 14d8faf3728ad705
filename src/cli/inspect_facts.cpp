#include "cli/inspect_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/input_file.h"
#include "cli/report.h"
#include "cli/terminal.h"
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

Json counts_json(const TypeCounts& counts) {
  Json out = Json::object();
  for (const auto& [type, count] : counts)
    out[type] = {{"tensors", count.tensors}, {"parameters", count.parameters}, {"bytes", count.bytes}};
  return out;
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
  constexpr const char* kRopeNames[] = {"default", "linear", "llama3", "yarn"};
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
              {"attention_bias", config.attention_bias},
              {"mlp_bias", config.mlp_bias},
              {"norm_eps", config.norm_eps},
              {"rope", kRopeNames[static_cast<int>(config.rope.type)]},
              {"rope_theta", config.rope.theta},
              {"end_token_ids", config.eos_ids}};
  out["begin_token_id"] = config.bos_id ? Json(*config.bos_id) : Json();
  out["pad_token_id"] = config.pad_id ? Json(*config.pad_id) : Json();
  return out;
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
  facts["chat_template"] = model->chat_template.has_value();
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
  facts["weights"] = counts_json(counts);
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
  facts["weights"] = counts_json(counts);
  Json tensors = Json::object();
  for (const files::TensorInfo& tensor : file.tensors())
    tensors[tensor.name] = fmt::format("{} [{}]", tensor.type, fmt::join(tensor.shape, ", "));
  facts["tensors"] = std::move(tensors);
  facts["metadata"] = file.metadata();
  return facts;
}

Result<void> add_directory_weights(const fs::path& path, Json& facts) {
  TypeCounts counts;
  std::vector<fs::path> shards;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(path, failure))
    if (entry.path().extension() == ".safetensors") shards.push_back(entry.path());
  std::sort(shards.begin(), shards.end());
  for (const fs::path& shard : shards) TRY(add_safetensors(shard, counts));
  facts["weights"] = counts_json(counts);
  return {};
}

Result<Json> adapter_facts(const fs::path& path, Json facts) {
  facts["kind"] = "peft_adapter";
  const Json config = TRY(files::read_json_file(path / "adapter_config.json"));
  Json shown = Json::object();
  for (const char* key : {"base_model_name_or_path", "peft_type", "task_type", "r", "lora_alpha", "lora_dropout",
                          "use_rslora", "use_dora", "target_modules", "layers_to_transform", "modules_to_save"})
    if (config.contains(key)) shown[key] = config[key];
  facts["adapter"] = std::move(shown);
  TRY(add_directory_weights(path, facts));
  return facts;
}

Result<Json> directory_facts(const fs::path& path, Json facts) {
  facts["kind"] = "huggingface";
  add_model(path, facts);
  TRY(add_directory_weights(path, facts));
  return facts;
}

Result<Json> run_facts(const fs::path& path, Json facts) {
  facts["kind"] = "run";
  const auto data = TRY(read_run(path));
  const Json& summary = data["summary"];
  facts["finished"] = summary.is_object();
  for (const char* key : {"verdict", "command", "started", "seconds", "steps", "seed", "peak_bytes"})
    if (summary.is_object() && summary.contains(key)) facts[key] = summary[key];
  facts["rows"] = data["rows"];
  if (!data["metrics"].empty()) facts["last_step"] = data["metrics"].back();
  std::vector<std::string> checkpoints;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(path, failure))
    if (entry.path().filename().string().starts_with("checkpoint-"))
      checkpoints.push_back(entry.path().filename().string());
  std::sort(checkpoints.begin(), checkpoints.end(),
            [](const auto& a, const auto& b) { return std::pair(a.size(), a) < std::pair(b.size(), b); });
  facts["checkpoints"] = checkpoints;
  facts["report"] = path_exists(path / "report.html");
  return facts;
}

uint64_t bytes_below(const fs::path& path) {
  std::error_code failure;
  if (!fs::is_directory(path, failure)) {
    const auto size = fs::file_size(path, failure);
    return failure ? 0 : size;
  }
  uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(path, failure))
    if (entry.is_regular_file(failure)) bytes += entry.file_size(failure);
  return bytes;
}

std::string shown(const Json& value) {
  if (value.is_string()) return one_line(value.get<std::string>(), 100);
  if (value.is_null()) return "none";
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  std::string out;
  if (value.is_array() || value.is_object()) {
    for (const auto& [key, item] : value.items())
      out += (out.empty() ? "" : ", ") + (value.is_object() ? one_line(key, 60) + " " : "") + shown(item);
    return out.empty() ? "none" : one_line(out, 140);
  }
  return value.dump();
}

}  // namespace

Result<Json> inspect_path(const fs::path& path) {
  if (!path_exists(path)) return error("[inspect] {} is not there.", path.string());
  Json facts = {{"path", path.string()}, {"kind", nullptr}, {"bytes", bytes_below(path)}};
  std::error_code failure;
  if (fs::is_directory(path, failure)) {
    if (path_exists(path / "adapter_config.json")) return adapter_facts(path, std::move(facts));
    if (path_exists(path / "metrics.jsonl")) return run_facts(path, std::move(facts));
    if (path_exists(path / "config.json")) return directory_facts(path, std::move(facts));
    return error(
        "[inspect] {} holds none of adapter_config.json (an adapter), config.json (a model) and metrics.jsonl (a run).",
        path.string());
  }
  if (path.extension() == ".safetensors") return safetensors_facts(path, std::move(facts));
  if (path.extension() == ".gguf") return gguf_facts(path, std::move(facts));
  return error("[inspect] {} is neither a .gguf nor a .safetensors file nor a folder.", path.string());
}

std::string facts_text(const Json& facts) {
  constexpr size_t kMostLines = 24;  // of one heading: a screen, not a dump; --json has everything
  std::string out;
  for (const auto& [key, value] : facts.items()) {
    if (!value.is_object() || value.empty()) {
      out += fmt::format("{:<20} {}\n", key, shown(value));
      continue;
    }
    out += fmt::format("\n{}\n", key);
    size_t lines = 0;
    for (const auto& [name, item] : value.items()) {
      if (++lines > kMostLines) {
        out += fmt::format("  … {} more (--json)\n", value.size() - kMostLines);
        break;
      }
      out += fmt::format("  {:<24} {}\n", one_line(name, 80), shown(item));
    }
  }
  return out;
}

}  // namespace candor::cli
