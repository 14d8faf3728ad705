#include "cli/inspect_facts.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/input_file.h"
#include "cli/inspect_model.h"
#include "cli/report.h"
#include "cli/run_facts.h"
#include "data/dataset_type.h"
#include "data/rows.h"
#include "files/checkpoint.h"
#include "files/peft_adapter.h"
#include "text/tokenizer.h"

namespace candor::cli {
namespace {

using files::Json;
namespace fs = std::filesystem;

// Adds "adapter" (what adapter_config.json says), "modules" and "base_sha256", or the reason why it is not read.
Result<void> add_adapter(const fs::path& path, Json& facts) {
  const Json config = TRY(files::read_json_file(path / "adapter_config.json"));
  Json shown = Json::object();
  for (const char* key : {"base_model_name_or_path", "peft_type", "task_type", "r", "lora_alpha", "lora_dropout",
                          "use_rslora", "use_dora", "target_modules", "layers_to_transform", "modules_to_save"})
    if (config.is_object() && config.contains(key)) shown[key] = config[key];
  facts["adapter"] = std::move(shown);
  TRY(add_folder_weights(path, "adapter_model", facts));
  const auto adapter = files::read_peft_adapter(path);
  if (!adapter) {
    facts["not_supported"] = adapter.error().message;
    return {};
  }
  facts["modules"] = adapter->pairs.size();
  facts["scale"] = TRY(files::pair_settings(adapter->config, adapter->pairs.front().module))
  .scale;
  facts["base_sha256"] = adapter->config.base_fingerprint.empty() ? Json() : Json(adapter->config.base_fingerprint);
  return {};
}

Result<Json> adapter_facts(const fs::path& path, Json facts) {
  facts["kind"] = "peft_adapter";
  TRY(add_adapter(path, facts));
  return facts;
}

void add_recipe(const RunFacts& run, Json& facts) {
  Json recipe = Json::object();
  for (const auto& [key, value] : run.recipe) recipe[key] = value;
  facts["recipe"] = std::move(recipe);
}

Result<Json> checkpoint_facts(const fs::path& path, Json facts) {
  facts["kind"] = "checkpoint";
  const auto whole = files::verify_checkpoint(path);
  facts["complete"] = whole.has_value();
  if (!whole) facts["not_supported"] = whole.error().message;
  facts["trainer_state"] = TRY(files::read_json_file(path / "trainer_state.json"));
  if (path_exists(path / "adapter_config.json"))
    TRY(add_adapter(path, facts));
  else
    TRY(add_folder_weights(path, "model", facts));
  add_recipe(read_run_facts(path), facts);
  return facts;
}

Result<Json> run_facts(const fs::path& path, Json facts) {
  facts["kind"] = "run";
  const auto data = TRY(read_run(path));
  const RunFacts run = read_run_facts(path);
  facts["state"] = state_name(run.state);
  facts["finished"] = run.state == RunState::kFinished;
  for (const char* key : {"verdict", "command", "started", "seconds", "steps", "seed", "peak_bytes", "talk_to_it"})
    if (run.summary.contains(key)) facts[key] = run.summary[key];
  facts["rows"] = data["rows"];
  if (!data["metrics"].empty()) facts["last_step"] = data["metrics"].back();
  Json checkpoints = Json::array();
  for (const files::Checkpoint& checkpoint : TRY(files::list_checkpoints(path)))
    checkpoints.push_back(checkpoint.path.filename().string());
  facts["checkpoints"] = std::move(checkpoints);
  facts["final"] = path_exists(path / "final");
  facts["report"] = path_exists(path / "report.html");
  add_recipe(run, facts);
  return facts;
}

Result<Json> tokenizer_facts(const fs::path& path, Json facts) {
  facts["kind"] = "tokenizer";
  constexpr uint64_t kLargest = uint64_t{256} << 20;
  const auto tokenizer = text::Tokenizer::from_tokenizer_json(TRY(read_file(path, kLargest)), path.string());
  if (!tokenizer) {
    facts["not_supported"] = tokenizer.error().message;
    return facts;
  }
  facts["tokens"] = tokenizer->size();
  Json special = Json::object();
  for (int32_t id = 0; id < tokenizer->size(); ++id)
    if (tokenizer->is_special(id)) special[tokenizer->id_to_token(id).value_or("")] = id;
  facts["special_tokens"] = std::move(special);
  return facts;
}

Result<Json> dataset_facts(const fs::path& path, Json facts) {
  facts["kind"] = "dataset";
  const data::Rows rows = TRY(data::read_rows(path));
  facts["rows"] = rows.rows.size();
  Json columns = Json::object();  // {"prompt": {"rows": 12, "type": "string"}}
  for (const data::Row& row : rows.rows) {
    for (const auto& [name, value] : row.columns.items()) {
      Json& column = columns[name];
      if (column.is_null()) column = {{"rows", 0}, {"type", value.type_name()}};
      column["rows"] = column["rows"].get<int64_t>() + 1;
    }
  }
  facts["columns"] = std::move(columns);
  if (const auto type = data::type_of(rows)) facts["type"] = data::name_of(*type);
  if (!rows.rows.empty()) {
    facts["dialect"] = data::dialect_of(rows.rows.front().columns);
    facts["first_row"] = rows.rows.front().columns;
  }
  return facts;
}

bool is_dataset(const std::string& name) {
  for (const char* end : {".jsonl", ".ndjson", ".json", ".csv", ".gz", ".zst"})
    if (name.ends_with(end)) return true;
  return false;
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

}  // namespace

Result<Json> inspect_path(const fs::path& path) {
  if (!path_exists(path)) return error("[inspect] {} is not there.", path.string());
  Json facts = {{"path", path.string()}, {"kind", nullptr}, {"bytes", bytes_below(path)}};
  std::error_code failure;
  if (fs::is_directory(path, failure)) {
    if (path_exists(path / "trainer_state.json")) return checkpoint_facts(path, std::move(facts));
    if (path_exists(path / "adapter_config.json")) return adapter_facts(path, std::move(facts));
    if (path_exists(path / "config.json")) return directory_facts(path, std::move(facts));
    if (holds_run(path)) return run_facts(path, std::move(facts));
    return error(
        "[inspect] {} holds none of config.json (a model), adapter_config.json (an adapter), trainer_state.json (a "
        "checkpoint) and metrics.jsonl (a run).",
        path.string());
  }
  if (path.extension() == ".safetensors") return safetensors_facts(path, std::move(facts));
  if (path.extension() == ".gguf") return gguf_facts(path, std::move(facts));
  if (path.filename() == "tokenizer.json") return tokenizer_facts(path, std::move(facts));
  if (is_dataset(path.filename().string())) return dataset_facts(path, std::move(facts));
  return error(
      "[inspect] {} is no .gguf, .safetensors, tokenizer.json, .jsonl, .json or .csv file (the last three also .gz or "
      ".zst), and no folder.",
      path.string());
}

}  // namespace candor::cli
