#include "files/model_files.h"

#include <algorithm>

#include "base/check.h"
#include "base/input_file.h"
#include "files/gguf.h"
#include "files/hf_config.h"
#include "files/json_file.h"
#include "files/model_text.h"
#include "files/weight_readers.h"

namespace candor::files {

namespace fs = std::filesystem;

namespace {

Result<ModelFiles> open_gguf(const fs::path& path) {
  GgufFile file = TRY(GgufFile::open(path));
  ModelFiles model;
  model.path = path;
  model.format = "gguf";
  model.config = TRY(config_from_gguf(file));
  attach_text(file, model);
  model.weights = TRY(open_gguf_weights(std::move(file), model.config));
  return model;
}

// generation_config.json, where there is one, may name more tokens that end a completion.
Result<void> add_generation_eos(const fs::path& directory, ModelConfig& config) {
  const fs::path path = directory / "generation_config.json";
  if (!path_exists(path)) return {};
  const Json json = TRY(read_json_file(path));
  if (!json.is_object() || !json.contains("eos_token_id")) return {};
  for (const int32_t id : TRY(token_ids_from_json(json["eos_token_id"], config.vocab_size, path.string()))) {
    if (std::find(config.eos_ids.begin(), config.eos_ids.end(), id) == config.eos_ids.end())
      config.eos_ids.push_back(id);
  }
  return {};
}

Result<ModelFiles> open_directory(const fs::path& path) {
  const fs::path config = path / "config.json";
  if (!path_exists(config)) return error("[{}] has no config.json: it is no model directory.", path.string());
  ModelFiles model;
  model.path = path;
  model.format = "safetensors";
  model.config = TRY(config_from_json(TRY(read_json_file(config)), config.string()));
  TRY(add_generation_eos(path, model.config));
  model.weights = TRY(open_safetensors_weights(path, model.config));
  attach_text(path, model);
  return model;
}

}  // namespace

const WeightInfo* WeightReader::find(std::string_view name) const {
  for (const WeightInfo& weight : weights()) {
    if (weight.name == name) return &weight;
  }
  return nullptr;
}

const GgufBlockType* WeightReader::block_type(std::string_view) const {
  return nullptr;
}

Result<void> WeightReader::read_blocks(std::string_view, int64_t, int64_t, uint8_t*) const {
  CHECK(false);
}

Result<ModelFiles> open_model(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return open_directory(path);
  if (!path_exists(path)) return error("[{}] does not exist.", path.string());
  if (path.extension() == ".gguf") return open_gguf(path);
  return error("[{}] is neither a model directory nor a .gguf file.", path.string());
}

}  // namespace candor::files
